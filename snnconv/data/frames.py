"""Input that changes over time: a sample is ``F`` frames of one shape, ``[F, *shape]``.

The ANN sees the mean of the frames. The SNN sees one frame for each step, and the mean over its T
steps is what the ANN sees. So T is a multiple of F, and the recording is shown again after every F
steps; or T divides F, and ``F/T`` successive frames are merged into their mean.

The recording is repeated, not slowed down: the sum of the input up to t stays within one recording
of t times its mean for every T, so a spiking network comes closer to its ANN with each repetition.
In a recording that is slowed down, a neuron that should be silent on the whole but is driven in the
first half spikes all through that half at every T, and no spike can be taken back.

Shape:
    ``[f, B, *shape]``: the frames that are shown in turn; ``f = 1`` of a constant input.
"""

import torch
from torch import Tensor

from snnconv.errors import UsageError


def frames_per_run(frames: int | None, timesteps: int, hold: int) -> int:
    """Return how many different frames T steps show: ``f``, or 1 if the input is constant.

    Args:
        frames: F, of a sample; none where it is constant.
        timesteps: T.
        hold: steps for which each frame is shown.

    Raises:
        UsageError: T does not fit.
    """
    if frames is None:
        return 1
    shown, rest = divmod(timesteps, hold)
    if rest or (shown % frames and frames % shown):
        fitting = [hold * n for n in range(1, frames + 1) if frames % n == 0] + [2 * hold * frames]
        each = f", each shown for {hold} steps" if hold > 1 else ""
        raise UsageError(
            f"samples of {frames} frames{each} can't be shown in T = {timesteps} steps",
            f"T is neither a divisor nor a multiple of {hold * frames}",
            f"take a T that fits, {', '.join(map(str, fitting))}, ... (--timesteps)",
        )
    return min(frames, shown)


def merge(samples: Tensor, count: int) -> Tensor:
    """Return frames merged by their mean, ``[B, F, *shape] -> [B, count, *shape]``."""
    if samples.shape[1] == count:
        return samples
    merged: Tensor = samples.unflatten(1, (count, -1)).mean(2)
    return merged


def frames_in_turn(samples: Tensor, frames: int, timesteps: int, hold: int) -> Tensor:
    """Return the frames that T steps show in turn, ``[B, F, *shape] -> [f, B, *shape]``.

    Args:
        samples: of F frames each.
        frames: F.
        timesteps: T.
        hold: steps for which each frame is shown.

    Raises:
        UsageError: T does not fit.
    """
    return merge(samples, frames_per_run(frames, timesteps, hold)).transpose(0, 1)


def frames_shown(frames: Tensor, start: int, steps: int, hold: int) -> Tensor:
    """Return what ``steps`` steps after ``start`` show, ``[f, B, *N] -> [steps, B, *N]``."""
    t = torch.arange(steps, device=frames.device) + start
    return frames[t // hold % len(frames)]


def mean_frame(frames: Tensor) -> Tensor:
    """Return what the ANN sees, ``[f, B, *N] -> [B, *N]``."""
    return frames[0] if len(frames) == 1 else frames.mean(0)
