"""`attach`, and what "auto" means: measure the first steps, predict, choose, watch, and choose anew."""

from thinwire.auto.attach import attach

__all__ = ["attach"]
