"""Training: the loop, what is minimised, its history, and what it goes on from."""

from snnconv.training.loop import Training

__all__ = ["Training"]
