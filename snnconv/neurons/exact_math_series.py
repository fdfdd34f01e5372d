"""The constants of :mod:`snnconv.neurons.exact_math` and of its compiled twin."""

import math

LARGEST = 60.0
"""Arguments of ``exp`` are clamped to this, either side: ``1 + exp(60)`` is ``exp(60)``."""

LOG2_E = 1 / math.log(2)
LN2_HIGH = 0.693359375  # nine bits: its product with an exponent is exact
LN2_LOW = math.log(2) - LN2_HIGH
ROUNDING = 1.5 * 2**23  # added to a float32 and subtracted again, it leaves a whole number

EXP = tuple(1 / math.factorial(k) for k in range(7, 1, -1))
"""Of ``(exp(r) - 1 - r)/r^2``, highest power first."""

ARTANH = tuple(1 / (2 * k + 1) for k in range(6, 0, -1))
"""Of ``(artanh(s) - s)/s^3`` in ``s^2``, highest power first."""
