"""The functions of :mod:`snnconv.neurons.exact_math`, of one number, for kernels.

The same operations in the same order, so the same bits; ``np.float32`` in and out.
"""

import numpy as np

from snnconv.neurons import exact_math_series

_0, _1, _2 = (np.float32(k) for k in range(3))
_LARGEST = np.float32(exact_math_series.LARGEST)
_LOG2_E = np.float32(exact_math_series.LOG2_E)
_LN2_HIGH = np.float32(exact_math_series.LN2_HIGH)
_LN2_LOW = np.float32(exact_math_series.LN2_LOW)
_ROUNDING = np.float32(exact_math_series.ROUNDING)
_E0, _E1, _E2, _E3, _E4, _E5 = (np.float32(k) for k in exact_math_series.EXP)
_A0, _A1, _A2, _A3, _A4, _A5 = (np.float32(k) for k in exact_math_series.ARTANH)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


def exp(x: np.float32) -> np.float32:
    """Return ``exp(x)``, ``x`` clamped to ``[-60, 60]``."""
    x = -_LARGEST if x < -_LARGEST else x
    x = _LARGEST if x > _LARGEST else x
    n = (x * _LOG2_E + _ROUNDING) - _ROUNDING
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power: np.float32 = np.int32((np.int32(n) + _BIAS) << _MANTISSA).view(np.float32)
    return (p * (r * r) + r + _1) * power


def log1p(x: np.float32) -> np.float32:
    """Return ``ln(1 + x)``, ``x`` in ``[0, 1]``."""
    s = x / (x + _2)
    q = s * s
    half = (((((_A0 * q + _A1) * q + _A2) * q + _A3) * q + _A4) * q + _A5) * q * s + s
    return half + half


def softplus(x: np.float32) -> np.float32:
    """Return ``ln(1 + exp(x))``."""
    return (_0 if x < _0 else x) + log1p(exp(-abs(x)))
