"""The functions of :mod:`snnconv.neurons.exact_math`, compiled: of one number, and over arrays."""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, scalar
from snnconv.neurons import exact_math_scalar

Floats = NDArray[np.float32]

exp = scalar(exact_math_scalar.exp)
log1p = scalar(exact_math_scalar.log1p)
softplus = scalar(exact_math_scalar.softplus)


@compiled
def exp_all(x: Floats, out: Floats) -> None:
    """Compute ``exp`` over ``[n]``."""
    for i in range(x.size):
        out[i] = exp(x[i])


@compiled
def softplus_all(x: Floats, out: Floats) -> None:
    """Compute softplus over ``[n]``."""
    for i in range(x.size):
        out[i] = softplus(x[i])
