"""Vector instructions over sixteen or more small integers, which numba does not make of short loops by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Numbers of 16 bits that `add_lanes` adds at once."""

LOOK_LANES = 32
"""Numbers of 16 bits that `lanes_from` looks at at once."""

SHORT = ir.IntType(16)
ALIGNED = 2
"""Bytes to which the numbers lie."""


def _address(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Return the address of the first number of an array."""
    return context.make_array(array_type)(context, builder, array).data


def _lanes(builder: Any, data: Any, at: Any, lanes: int) -> Any:
    """Return the address of some numbers behind another one as that of a vector."""
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
        sums, patterns = (_address(context, builder, signature.args[i], args[i]) for i in (0, 2))
        target = _lanes(builder, sums, args[1], LANES)
        mask = builder.load(_lanes(builder, patterns, args[3], LANES), align=ALIGNED)
        more = builder.and_(mask, _same(builder, args[4], LANES))
        builder.store(builder.add(builder.load(target, align=ALIGNED), more), target, align=ALIGNED)
        return context.get_dummy_value()

    return types.void(out, types.int64, pattern, types.int64, types.int16), codegen


@intrinsic
def add_from(typing_context: Any, values: Any, at: Any, where: Any) -> Any:
    """Add ``values[where + k]`` to ``values[at + k]`` for `LOOK_LANES` k that do not meet; int16, inside the array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _address(context, builder, signature.args[0], args[0])
        target, source = (_lanes(builder, data, args[i], LOOK_LANES) for i in (1, 2))
        more = builder.load(source, align=ALIGNED)
        builder.store(builder.add(builder.load(target, align=ALIGNED), more), target, align=ALIGNED)
        return context.get_dummy_value()

    return types.void(values, types.int64, types.int64), codegen


@intrinsic
def sum_ends(typing_context: Any, prefix: Any, first: Any, lower: Any, upper: Any, out: Any, at: Any) -> Any:
    """Write the sums of differences of some numbers to ``out[at + k]`` for `LOOK_LANES` k; int16, inside the arrays.

    They are those of ``prefix[first + lower[j] + k] - prefix[first + upper[j] + k]`` for all j, as sums over columns
    that end at ``lower`` and begin at ``upper``, both int64.
    """

    def codegen(context, builder, signature, args):
        sums, lows, highs, target = (_address(context, builder, signature.args[i], args[i]) for i in (0, 2, 3, 4))
        ends = context.make_array(signature.args[2])(context, builder, args[2])
        total = cgutils.alloca_once_value(builder, ir.Constant(ir.VectorType(SHORT, LOOK_LANES), None))
        with cgutils.for_range(builder, builder.extract_value(ends.shape, 0)) as loop:
            parts = []
            for numbers in (lows, highs):
                where = builder.add(args[1], builder.load(builder.gep(numbers, [loop.index])))
                parts.append(builder.load(_lanes(builder, sums, where, LOOK_LANES), align=ALIGNED))
            builder.store(builder.add(builder.load(total), builder.sub(*parts)), total)
        builder.store(builder.load(total), _lanes(builder, target, args[5], LOOK_LANES), align=ALIGNED)
        return context.get_dummy_value()

    return types.void(prefix, types.int64, lower, upper, out, types.int64), codegen


@intrinsic
def lanes_from(typing_context: Any, values: Any, at: Any, low: Any) -> Any:
    """Return the bits k of `LOOK_LANES` for which ``values[at + k]`` is at least ``low``; int16, inside the array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _address(context, builder, signature.args[0], args[0])
        lanes = builder.load(_lanes(builder, data, args[1], LOOK_LANES), align=ALIGNED)
        high = builder.icmp_signed(">=", lanes, _same(builder, args[2], LOOK_LANES))
        return builder.zext(builder.bitcast(high, ir.IntType(LOOK_LANES)), ir.IntType(64))

    return types.uint64(values, types.int64, types.int16), codegen
