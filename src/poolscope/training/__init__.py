"""Training: a small loop that turns an initial network into a trained one."""

from poolscope.training.loop import accuracy, fit

__all__ = ["accuracy", "fit"]
