"""Short float64 NumPy twins of the real thing, each straight from its definition."""
