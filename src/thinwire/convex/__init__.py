"""Convex problems over thin wires: data, losses, penalties, solvers, certificates."""
