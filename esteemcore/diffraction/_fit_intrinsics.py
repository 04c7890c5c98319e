"""The sums over the pixels of a fit, more than forty at once, in vector instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Pixels that are worked on at once."""

ROW_U, ROW_V, ROW_DISK, ROW_STEEP, ROW_GROWTH = SHAPE_ROWS = range(5)
"""Rows of the work space that say what a disk of height 1 looks like at each pixel: round coordinates from its middle,
in radii; its height; how steeply that falls per px, over the distance in radii; how steeply it falls."""

MADE_ROWS = range(5, 14)
"""Rows that are made of them: derivatives by background and slope, residual, weight, the other derivatives, and that by
the radius."""

ROW_LEVEL, ROW_SLOPE, ROW_RESIDUAL, ROW_WEIGHT, ROW_ALONG_U, ROW_ALONG_V, ROW_Y, ROW_X, ROW_WIDENING = MADE_ROWS

WORK_ROWS = 14
"""Number of all these rows."""

DERIVATIVES = ROW_LEVEL, ROW_DISK, ROW_ALONG_U, ROW_ALONG_V, ROW_SLOPE, ROW_Y, ROW_X
"""Rows of the derivatives by background, height, two tilts, slope and place."""

SUMS = 48
"""Room for the sums, a multiple of the lanes: lower triangle of the normal matrix, gradient, what tells the radius."""

GRADIENT, GROWTH, GROWTH_RESIDUAL, GROWTH_GROWTH = 28, 35, 42, 43
"""Where in the sums the gradient begins, the products of the growth with the derivatives, with residual and itself."""

MODEL = 12
"""Numbers of the model of a disk; see `sum_pixels`."""

LEAST_RATE = 1e-3
"""Counts per pixel below which no background is believed."""


def _pairs(ones: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the rows whose products with the weight are summed, and where the sum goes, for some derivatives."""
    pairs = []
    for i in ones:
        pairs += [(DERIVATIVES[i], DERIVATIVES[j], i * (i + 1) // 2 + j) for j in range(i + 1)]
        pairs += [(DERIVATIVES[i], ROW_RESIDUAL, GRADIENT + i)]
    return pairs


BACKGROUND_SUMS = [pair for pair in _pairs((0, 4)) if {pair[0], pair[1]} <= {ROW_LEVEL, ROW_SLOPE, ROW_RESIDUAL}]
"""What is summed over all pixels."""

DISK_SUMS = [
    [*_pairs((1, 2, 3)), *((row, ROW_SLOPE, 10 + i) for i, row in enumerate(DERIVATIVES[1:4], 1))],
    [
        *_pairs((5, 6)),
        *((ROW_WIDENING, row, GROWTH + i) for i, row in enumerate(DERIVATIVES)),
        (ROW_WIDENING, ROW_RESIDUAL, GROWTH_RESIDUAL),
        (ROW_WIDENING, ROW_WIDENING, GROWTH_GROWTH),
    ],
]
"""What is summed where there is a disk, in two loops."""

FLOAT, VECTOR = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
FAST = ("fast",)
ALIGNED = 4
"""Bytes to which the numbers lie."""


class _Lanes(NamedTuple):
    """One number of each of some pixels, with the arithmetic of numbers."""

    builder: Any
    value: Any

    def __add__(self, other: Any) -> _Lanes:
        return _Lanes(self.builder, self.builder.fadd(self.value, other.value, flags=FAST))

    def __sub__(self, other: Any) -> _Lanes:
        return _Lanes(self.builder, self.builder.fsub(self.value, other.value, flags=FAST))

    def __mul__(self, other: Any) -> _Lanes:
        return _Lanes(self.builder, self.builder.fmul(self.value, other.value, flags=FAST))

    def __truediv__(self, other: Any) -> _Lanes:
        return _Lanes(self.builder, self.builder.fdiv(self.value, other.value, flags=FAST))

    def at_least(self, least: Any) -> _Lanes:
        """Return the larger one of two."""
        above = self.builder.fcmp_ordered(">", self.value, least.value, flags=FAST)
        return _Lanes(self.builder, self.builder.select(above, self.value, least.value))


def _same(builder: Any, number: Any) -> _Lanes:
    """Return a number for all pixels."""
    vector = ir.VectorType(number.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return _Lanes(builder, builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere))


def _row(context: Any, builder: Any, array_type: Any, array: Any) -> Callable[[int], Any]:
    """Return a function for the address of the first number of a row of an array (rows, columns)."""
    made = context.make_array(array_type)(context, builder, array)
    columns = builder.extract_value(made.shape, 1)
    return lambda row: builder.gep(made.data, [builder.mul(columns, columns.type(row))])


def _totals(builder: Any, parts: Sequence[Any]) -> Any:
    """Return the sums over the lanes of as many vectors as there are lanes, in their order, in one vector."""
    lanes = LANES
    while lanes > 1:  # two vectors become one, in which each sum has half as many lanes
        half, groups = lanes // 2, 2 * LANES // lanes
        first, last = (
            ir.Constant(
                ir.VectorType(ir.IntType(32), LANES),
                [lanes * group + begin + k for group in range(groups) for k in range(half)],
            )
            for begin in (0, half)
        )
        parts = [
            builder.fadd(builder.shuffle_vector(a, b, first), builder.shuffle_vector(a, b, last), flags=FAST)
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
        lanes = half
    return parts[0]


@intrinsic
def sum_pixels(typing_context: Any, window: Any, work: Any, pixels: Any, model: Any, sums: Any) -> Any:
    """Write the sums over the first `pixels` of a window to ``sums`` (`SUMS`,); all arrays float32.

    ``window`` (4, n) holds coordinates, counts and other disks, ``work`` (`WORK_ROWS`, n) what `SHAPE_ROWS` tells, and
    room; n is a multiple of `LANES` at least as large as `pixels`. ``model`` (`MODEL`,): background, height, two tilts,
    a quarter of the slope, the direction outward, the matrix to round coordinates, the inverse of the radius.
    """

    def codegen(context, builder, signature, args):
        window_row, work_row = (_row(context, builder, signature.args[i], args[i]) for i in (0, 1))
        given, out = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (3, 4))
        number, whole = ir.IntType(32), args[2].type
        parameters = [_same(builder, builder.load(builder.gep(given, [number(i)]))) for i in range(MODEL)]
        background, height, tilt_u, tilt_v, quarter, out_y, out_x, a, b, c, d, per_px = parameters
        one, tiny, least = (_Lanes(builder, ir.Constant(VECTOR, [value] * LANES)) for value in (1.0, 1e-12, LEAST_RATE))
        lane = ir.Constant(ir.VectorType(number, LANES), list(range(LANES)))
        totals = [cgutils.alloca_once_value(builder, ir.Constant(VECTOR, None)) for _ in range(SUMS)]
        last = cgutils.alloca_once_value(builder, ir.Constant(whole, 0))
        blocks = builder.sdiv(builder.add(args[2], whole(LANES - 1)), whole(LANES))

        def address(row: Callable[[int], Any], which: int, at: Any) -> Any:
            return builder.bitcast(builder.gep(row(which), [at]), VECTOR.as_pointer())

        def taken(row: Callable[[int], Any], which: int, at: Any) -> _Lanes:
            return _Lanes(builder, builder.load(address(row, which, at), align=ALIGNED))

        def add(slot: int, more: _Lanes) -> None:
            builder.store((_Lanes(builder, builder.load(totals[slot])) + more).value, totals[slot])

        with cgutils.for_range(builder, blocks) as loop:
            at = builder.mul(loop.index, whole(LANES))
            y, x, counts, others = (taken(window_row, i, at) for i in range(4))
            u, v, disk, steep, growth = (taken(work_row, i, at) for i in SHAPE_ROWS)
            outward = out_y * y + out_x * x
            root = one + quarter * outward
            cube = root * root * root
            level, slope = (cube * root).at_least(tiny), background * cube * outward
            structure = height + tilt_u * u + tilt_v * v
            rate = (background * level + structure * disk + others).at_least(least)
            left = builder.trunc(builder.sub(args[2], at), number)
            inside = builder.icmp_signed("<", lane, _same(builder, left).value)
            weight = _Lanes(builder, builder.select(inside, (one / rate).value, ir.Constant(VECTOR, None)))
            residual, falling, flat = counts - rate, structure * steep, disk * per_px
            by_u, by_v = falling * u - flat * tilt_u, falling * v - flat * tilt_v
            made = level, slope, residual, weight, disk * u, disk * v, by_u * a + by_v * c, by_u * b + by_v * d
            for which, value in zip(MADE_ROWS, (*made, structure * growth), strict=True):
                builder.store(value.value, address(work_row, which, at), align=ALIGNED)
            for one_row, other, slot in BACKGROUND_SUMS:
                add(slot, made[one_row - ROW_LEVEL] * weight * made[other - ROW_LEVEL])
            differ = [builder.fcmp_unordered("!=", v.value, ir.Constant(VECTOR, None)) for v in (disk, steep)]
            bits = builder.bitcast(builder.and_(inside, builder.or_(*differ)), ir.IntType(LANES))
            here = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
            builder.store(builder.select(here, builder.add(loop.index, whole(1)), builder.load(last)), last)
        for rows in DISK_SUMS:  # few sums in each loop: there are registers for them
            with cgutils.for_range(builder, builder.load(last)) as loop:
                at = builder.mul(loop.index, whole(LANES))
                weight = taken(work_row, ROW_WEIGHT, at)
                needed = {row for pair in rows for row in pair[:2]}
                values = {row: taken(work_row, row, at) for row in sorted(needed)}
                weighted = {row: values[row] * weight for row in sorted({pair[0] for pair in rows})}
                for one_row, other, slot in rows:
                    add(slot, weighted[one_row] * values[other])
        for begin in range(0, SUMS, LANES):
            total = _totals(builder, [builder.load(total) for total in totals[begin : begin + LANES]])
            place = builder.bitcast(builder.gep(out, [number(begin)]), VECTOR.as_pointer())
            builder.store(total, place, align=ALIGNED)
        return context.get_dummy_value()

    return types.void(window, work, types.int64, model, sums), codegen
