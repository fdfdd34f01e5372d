"""Scans over time, compiled: a block of neurons takes all its steps while it is in the cache.

What a line computes is stated in the neuron's own file, whose ``step`` these follow operation by
operation, in the same order.

Shape:
    Currents ``[1 or T, n]`` (one row: they are constant over time), keep ``[T, n]`` or none, theta
    and states ``[n]``, counts and values ``[T, n]``, all float32 and contiguous. States are
    changed in place.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv import elementary
from snnconv.engine.compiled import compiled, inlined

Floats = NDArray[np.float32]
Constants = tuple[np.float32, ...]

_BLOCK = 1024  # neurons: seven arrays of them fit into the smallest first-level cache

_0, _1, _2 = (np.float32(k) for k in range(3))
_LARGEST = np.float32(elementary.LARGEST)
_LOG2_E = np.float32(elementary.LOG2_E)
_LN2_HIGH = np.float32(elementary.LN2_HIGH)
_LN2_LOW = np.float32(elementary.LN2_LOW)
_ROUNDING = np.float32(elementary.ROUNDING)
_E0, _E1, _E2, _E3, _E4, _E5 = (np.float32(k) for k in elementary.EXP)
_A0, _A1, _A2, _A3, _A4, _A5 = (np.float32(k) for k in elementary.ARTANH)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@inlined
def _exp(x: np.float32) -> np.float32:
    x = -_LARGEST if x < -_LARGEST else x
    x = _LARGEST if x > _LARGEST else x
    n = (x * _LOG2_E + _ROUNDING) - _ROUNDING
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power: np.float32 = np.int32((np.int32(n) + _BIAS) << _MANTISSA).view(np.float32)
    return (p * (r * r) + r + _1) * power


@inlined
def _log1p(x: np.float32) -> np.float32:
    s = x / (x + _2)
    q = s * s
    half = (((((_A0 * q + _A1) * q + _A2) * q + _A3) * q + _A4) * q + _A5) * q * s + s
    return half + half


@inlined
def _softplus(x: np.float32) -> np.float32:
    return (_0 if x < _0 else x) + _log1p(_exp(-abs(x)))


@compiled
def scan_if(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    potential: Floats,
    counts: Floats,
    values: Floats,
) -> None:
    """IF neurons ``start`` to ``stop``."""
    work = np.empty(4 * _BLOCK, np.float32)
    v, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK
    for low in range(start, stop, _BLOCK):
        high = min(low + _BLOCK, stop)
        n = high - low
        work[v : v + n] = potential[low:high]
        work[th : th + n] = theta[low:high]
        for t in range(len(counts)):
            current = currents[t if len(currents) > 1 else 0, low:high]
            for i in range(n):
                before = work[v + i] + current[i]
                fired = _1 if before >= work[th + i] else _0
                if keep is not None:
                    fired = fired * keep[t, low + i]
                value = fired * work[th + i]
                work[s + i] = fired
                work[x + i] = value
                work[v + i] = before - value
            counts[t, low:high] = work[s : s + n]
            values[t, low:high] = work[x : x + n]
        potential[low:high] = work[v : v + n]


@compiled
def scan_msat(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    before: Floats,
    after: Floats,
    mean: Floats,
    counts: Floats,
    values: Floats,
    steps: int,
    dtt: Constants | None,
    det: Constants | None,
    sees_input: bool,
) -> None:
    """MSAT neurons ``start`` to ``stop``, which have done ``steps`` steps.

    ``dtt`` holds ``1/k_i, tau_mp*k_a, tau_mp*alpha, tau_mp*v_t``, ``det`` holds ``-1/c, tau_rd``;
    none where it is switched off.
    """
    work = np.empty(6 * _BLOCK, np.float32)
    V, v, m, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK, 5 * _BLOCK
    for low in range(start, stop, _BLOCK):
        high = min(low + _BLOCK, stop)
        n = high - low
        work[V : V + n] = before[low:high]
        work[v : v + n] = after[low:high]
        work[m : m + n] = mean[low:high]
        work[th : th + n] = theta[low:high]
        for t in range(len(counts)):
            current = currents[t if len(currents) > 1 else 0, low:high]
            adaptive = steps + t > 0
            share = np.float32(1 / (steps + t + 1))
            for i in range(n):
                residual, theta_i = work[v + i], work[th + i]
                potential = residual + current[i]
                threshold = theta_i
                if dtt is not None or det is not None:
                    drive = _0
                    if dtt is not None:
                        deviation = (residual - work[m + i]) / theta_i
                        drive = _softplus(deviation * dtt[0]) * dtt[1]
                        drive = drive + deviation * dtt[2] + dtt[3]
                    if det is not None:
                        rise = current[i] if sees_input else potential - work[V + i]
                        drive = drive + _exp(rise / theta_i * det[0]) * det[1]
                    adapted = theta_i / (_exp(-drive) + _1)
                    threshold = adapted if adaptive else theta_i
                fired = _1 if potential >= threshold else _0
                if keep is not None:
                    fired = fired * keep[t, low + i]
                value = fired * threshold
                residual = potential - value
                if dtt is not None:
                    work[m + i] = work[m + i] + (residual - work[m + i]) * share
                work[s + i] = fired
                work[x + i] = value
                work[V + i] = potential
                work[v + i] = residual
            counts[t, low:high] = work[s : s + n]
            values[t, low:high] = work[x : x + n]
        before[low:high] = work[V : V + n]
        after[low:high] = work[v : v + n]
        mean[low:high] = work[m : m + n]
