"""``exp`` and ``ln(1 + x)`` in float32, the same to the last bit on every device.

Each library rounds the last bit of ``exp`` in its own way, and in some it depends on the position
of a number in memory. A threshold computed with it would make spikes depend on the processor, on
the batch size and on how a simulation is split into chunks. These functions are made of additions
and multiplications, whose rounding IEEE 754 defines, so a program that does them in the same order
gets the same bits; the compiled ones of :mod:`snnconv.neurons.exact_math_kernel` do.

Shape:
    Elementwise.

Reference:
    Taylor series, after the usual reduction: ``exp(x) = 2^n * exp(r)`` with ``|r| <= ln(2)/2``, and
    ``ln(1 + x) = 2*artanh(x/(2 + x))``. The error of the series is below an eighth of float32's
    last place.

Deviations:
    None. Float64 uses the library's functions, with which the tests compare.
"""

import functools
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from snnconv.core.packages import kernels
from snnconv.neurons.exact_math_series import (
    ARTANH,
    EXP,
    LARGEST,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ROUNDING,
)

Function = Callable[[Tensor], Tensor]


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """Evaluate by Horner's rule; ``addcmul`` would round once where a CPU's kernel rounds twice."""
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = (value * x).add_(coefficient)
    return value


def _compiled_as(kernel: str) -> Callable[[Function], Function]:
    """Compute by the compiled function of this name if it can take the numbers."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def either(x: Tensor) -> Tensor:
            if (found := _compiled(x)) is not None:
                return _over(getattr(found, kernel), x)
            return function(x)

        return either

    return decorate


@_compiled_as("exp_all")
def exp(x: Tensor) -> Tensor:
    """Return ``exp(x)``, ``x`` clamped to ``[-60, 60]``.

    Args:
        x: float32 or float64.
    """
    x = x.clamp(-LARGEST, LARGEST)
    if x.dtype is torch.float64:
        return torch.exp(x)
    n = (x * LOG2_E).add_(ROUNDING).sub_(ROUNDING)
    r = (x - n * LN2_HIGH).sub_(n * LN2_LOW)
    fraction = _polynomial(EXP, r).mul_(r * r).add_(r).add_(1)
    power = ((n.int() + 127) << 23).view(torch.float32)
    return fraction.mul_(power)


def log1p(x: Tensor) -> Tensor:
    """Return ``ln(1 + x)``.

    Args:
        x: float32 or float64, in ``[0, 1]``.
    """
    if x.dtype is torch.float64:
        return torch.log1p(x)
    s = x / (x + 2)
    square = s * s
    half = _polynomial(ARTANH, square).mul_(square).mul_(s).add_(s)
    return half + half


@_compiled_as("softplus_all")
def softplus(x: Tensor) -> Tensor:
    """Return ``ln(1 + exp(x))`` without overflow."""
    return x.clamp(min=0) + log1p(exp(-x.abs()))


def _compiled(x: Tensor) -> ModuleType | None:
    """Return the compiled functions if they take these numbers: one pass instead of twenty."""
    if x.dtype is not torch.float32 or x.device.type != "cpu" or x.requires_grad:
        return None
    if torch.compiler.is_compiling():
        return None
    return kernels("snnconv.neurons.exact_math_kernel")


def _over(kernel: Callable[..., None], x: Tensor) -> Tensor:
    """Apply a compiled function to a tensor, in the order of its memory."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    x = x if last else x.contiguous()
    out = torch.empty_like(x)
    kernel(*(tensor.as_strided((tensor.numel(),), (1,)).numpy() for tensor in (x, out)))
    return out
