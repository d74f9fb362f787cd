"""Linear models for scikit-learn, whose rows may lie on several workers: its objectives and names, few bits sent."""

from thinwire.estimators.logistic import LogisticRegression
from thinwire.estimators.regression import ElasticNet, Lasso, Ridge
from thinwire.estimators.svm import LinearSVC

__all__ = ["ElasticNet", "Lasso", "LinearSVC", "LogisticRegression", "Ridge"]
