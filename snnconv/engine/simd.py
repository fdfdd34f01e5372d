"""LLVM's vector type, for the few loops of which the compiler makes no vectors by itself.

:mod:`snnconv.engine.event_conv.bits` and :mod:`snnconv.engine.event_conv.grouped_row_sum` state
their loops in it. It becomes whatever the processor has: AVX2, AVX-512 or NEON.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir

from snnconv.engine.rows import LANES

FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
BYTES = 4


def fetch(builder: Any, kind: Any, address: Any, offset: int = 0) -> Any:
    """Load what lies so many bytes behind an address."""
    place = builder.add(address, ir.Constant(INT, offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=BYTES)


def splat(builder: Any, value: Any) -> Any:
    """A vector of one number."""
    empty = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, empty, zeros)
