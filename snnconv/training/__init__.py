"""Training: the loop, the objectives, the history, and resuming."""

from snnconv.training.loop import Training

__all__ = ["Training"]
