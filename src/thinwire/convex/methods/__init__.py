"""Server rules: what becomes of the iterate when the workers' vectors have been heard."""
