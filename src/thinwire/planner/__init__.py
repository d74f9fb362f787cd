"""Advice for convex problems: every way to solve one weighed, by theory, and by trials of those that may be best."""

from thinwire.planner.advice import SolveAdvice, advise_solve
from thinwire.planner.row import Row

__all__ = ["Row", "SolveAdvice", "advise_solve"]
