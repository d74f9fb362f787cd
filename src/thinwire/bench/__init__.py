"""Benchmarks: how fast codes are, what collectives cost, what a training step takes; side by side in one run."""
