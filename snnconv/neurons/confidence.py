"""Spike confidence: in the early steps a spike is emitted only with a probability.

``s~ = c*s``, ``c ~ Bernoulli(p)`` per neuron and step for ``t <= E``; a suppressed spike neither
propagates nor resets the potential. ``p`` is one minus the layer's share of SIN neurons.

The random number of a neuron at a step is a hash of (seed, sample, layer, step, neuron): no
generator has a state, so batch size, order, chunks and device do not change any spike.

Shape:
    :func:`keep_mask` gives ``[T, B, *N]``.

Reference:
    MSAT Eq. 14-15, section 4.2. The hash is a chain of 32-bit finalisers (Wellons, *lowbias32*).

Deviations:
    None.
"""

import hashlib
import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit numbers: a bijection that flips each bit with a chance near 1/2."""
    # in int64: products wrap around at 64 bits, which leaves their lower 32 bits right
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def _key(seed: int, layer: str) -> int:
    """Return 32 bits that set the random numbers of one layer apart from those of others."""
    digest = hashlib.sha256(f"{seed}:{layer}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


# torch.compile can't trace a digest. `torch.compiler.assume_constant_result` would say so, too, but
# it imports the compiler, which takes three seconds of every command.
_key.__dict__["_dynamo_marked_constant"] = True


def uniform(seed: int, layer: str, samples: Tensor, steps: range, shape: tuple[int, ...]) -> Tensor:
    """Return random numbers in [0, 1), float64.

    Args:
        seed: the seed of the simulation.
        layer: the name of the site.
        samples: the samples' indices in the data set, ``[B]`` int64.
        steps: the steps, from 1.
        shape: ``*N``.

    Returns:
        ``[len(steps), B, *N]``.
    """
    key = _key(seed, layer)
    step = torch.tensor(list(steps), device=samples.device)
    neuron = torch.arange(math.prod(shape), device=samples.device)
    hashed = _mix(_mix(samples & _MASK) ^ key)[None, :]
    hashed = _mix(hashed ^ _mix(step)[:, None])[:, :, None]
    hashed = _mix(hashed ^ _mix(neuron))
    numbers: Tensor = (hashed.double() / 2**32).unflatten(2, shape)
    return numbers


def drawn(seed: int, layer: str, samples: Tensor, start: int, like: Tensor) -> Tensor:
    """Return one minus a random number from ``[0, 1)`` for each spike of neurons that draw.

    It has 24 bits, which float32 holds exactly, and is independent of the numbers of confidence.

    Args:
        seed: of the simulation.
        layer: the site's name.
        samples: which samples, ``[B]``.
        start: steps already done.
        like: currents ``[T, B, *N]`` of the steps ``start + 1 .. start + T``.
    """
    steps = range(start + 1, start + len(like) + 1)
    numbers = uniform(seed, f"{layer}/draw", samples, steps, tuple(like.shape[2:]))
    numbers = numbers.mul_(2**24).floor_().div_(-(2**24)).add_(1)
    return torch.empty_like(like).copy_(numbers)


def keep_mask(
    probability: float,
    early: int,
    seed: int,
    layer: str,
    samples: Tensor,
    start: int,
    like: Tensor,
) -> Tensor | None:
    """Return 1 where a spike may be emitted; None if confidence does not act in these steps.

    Args:
        probability: p of the layer.
        early: E.
        seed: of the simulation.
        layer: the site's name.
        samples: which samples, ``[B]``.
        start: steps already done.
        like: currents ``[T, B, *N]`` of the steps ``start + 1 .. start + T``.
    """
    acting = min(early - start, like.shape[0])
    if acting <= 0 or probability >= 1:
        return None
    mask = torch.ones_like(like)
    drawn = uniform(
        seed, layer, samples, range(start + 1, start + acting + 1), tuple(like.shape[2:])
    )
    mask[:acting] = (drawn < probability).to(like.dtype)
    return mask
