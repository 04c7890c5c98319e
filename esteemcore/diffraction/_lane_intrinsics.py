"""Vector instructions over sixteen or more small integers, which numba does not make of short loops by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
"""Numbers of 16 bits that `add_lanes` adds at once."""

LOOK_LANES = 32
"""Numbers of 16 bits that `lanes_from` looks at at once."""

SHORT = ir.IntType(16)
ALIGNED = 2
"""Bytes to which the numbers lie."""


def _lanes(context: Any, builder: Any, array_type: Any, array: Any, at: Any, lanes: int) -> Any:
    """Return the address of some numbers of an array as that of a vector."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.VectorType(SHORT, lanes).as_pointer())


def _same(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector of one value."""
    vector = ir.VectorType(SHORT, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere)


@intrinsic
def add_lanes(typing_context: Any, out: Any, at: Any, pattern: Any, where: Any, value: Any) -> Any:
    """Add ``value & pattern[where + k]`` to ``out[at + k]`` for `LANES` k; all int16, inside both arrays."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _lanes(context, builder, signature.args[0], args[0], args[1], LANES)
        mask = builder.load(_lanes(context, builder, signature.args[2], args[2], args[3], LANES), align=ALIGNED)
        more = builder.and_(mask, _same(builder, args[4], LANES))
        builder.store(builder.add(builder.load(target, align=ALIGNED), more), target, align=ALIGNED)
        return context.get_dummy_value()

    return types.void(out, types.int64, pattern, types.int64, types.int16), codegen


@intrinsic
def lanes_from(typing_context: Any, values: Any, at: Any, low: Any) -> Any:
    """Return the bits k of `LOOK_LANES` for which ``values[at + k]`` is at least ``low``; int16, inside the array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _lanes(context, builder, signature.args[0], args[0], args[1], LOOK_LANES)
        high = builder.icmp_signed(">=", builder.load(address, align=ALIGNED), _same(builder, args[2], LOOK_LANES))
        return builder.zext(builder.bitcast(high, ir.IntType(LOOK_LANES)), ir.IntType(64))

    return types.uint64(values, types.int64, types.int16), codegen
