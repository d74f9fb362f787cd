from ..training.conftest import fleet

__all__ = ["fleet"]
