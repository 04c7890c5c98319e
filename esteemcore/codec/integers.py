"""Matrices of whole numbers that are smooth spectra plus noise: a low-rank prediction, then the rest at its entropy.

Noise cannot be predicted, so the size is decided by two things: how little the prediction adds to the noise, and how
near the coder comes to the entropy of what remains. Neighbours predict badly (the difference of two noisy values has
twice the variance, half a bit more per value); a few principal components average over the whole image. Per value::

    predicted = mean[channel] + sum_j score[row, j] * loading[j, channel]        (in eighths)
    residual  = value - floor(predicted)

The residual of a channel loses its low bits, which are pure noise, where its width asks for more than a byte; the rest
goes to `rans` with statistics per width of the channel and per eighth of the prediction. Scores and loadings are whole
numbers whose rounding is as large as their own noise; the sum is exact in float64, the same on every machine.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from esteemcore import lowrank
from esteemcore._core.errors import EsteemError, FormatError
from esteemcore.codec import parts, rans

COMPONENTS = 40
"""The prediction has no more components than this."""
LARGEST = 1 << 26
"""Values are below this in magnitude, so that eighths of them fit into 32 bits."""
EXACT = 2.0**52
"""Sums of whole numbers below this are exact in float64, whatever their order."""
FINE = 1 << 16
"""Matrices with fewer values have fewer contexts, whose tables would cost more than they save."""
QUARTERS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])
"""``2**(i/4)``: widths are stored in quarters of an octave."""
NARROWEST = -8
"""Width class of ``2**(NARROWEST/4)``, below which all widths count as this one."""
WIDEST_BYTE = 12
"""Width class above which low bits are split off: ``2**(12/4) = 8``."""
ESCAPE = 255
ROUNDS = 3
"""Fits of the prediction, at most: neighbouring pixels may differ by more than their noise."""


def encode(values: NDArray[np.int32]) -> bytes:
    """Return a coded matrix of int32, shape (rows, channels), of magnitudes below `LARGEST`, read back to be sure."""
    width = _classes(_noise(values))
    fine = values.size >= FINE
    width_after = width
    for _ in range(ROUNDS):
        width = np.minimum(width, width_after)
        mean, scores, loadings, scale = _fit(values, _width(width))
        term = _terms(loadings, scale, _width(width))
        bits = _fraction_bits(mean, scores, term)
        eighths = _predict(mean, scores, term, bits)
        residual = values - (eighths >> 3)
        spread = np.sqrt(np.square(residual - ((eighths & 7) * np.float32(0.125) + np.float32(0.0625))).mean(axis=0))
        width_after = _classes(spread)
        if not scores.size or np.median(width_after - width) > -2:
            break  # else the noise was overrated, and scores and loadings were rounded too much
    shift, context = _contexts(width_after, eighths, fine)
    high = residual >> shift
    escaped = (high < -127) | (high > 127)
    symbol = np.where(escaped, ESCAPE, high + 127).astype(np.uint8)
    coded = parts.join(
        [
            struct.pack("<BBI", fine, bits, scores.shape[1]),
            parts.deflate(np.stack([width, width_after]).astype("<i1")),
            parts.deflate(np.diff(mean, prepend=mean[:1] * 0).astype("<i4")),
            parts.deflate(_planes(scores.T)),
            parts.deflate(_planes(loadings)),
            scale.astype("<f8").tobytes(),
            rans.encode(symbol.reshape(-1), context.reshape(-1)),
            _pack_low(residual, shift),
            parts.deflate(high[escaped].astype("<i4")),
        ]
    )
    if not np.array_equal(decode(coded, values.shape), values):
        raise EsteemError("a matrix does not read back as it was written; nothing was encoded: please report this")
    return coded


def decode(data: bytes, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the matrix.

    Raises
    ------
    FormatError
        If the bytes are damaged or hold no matrix of this shape.
    """
    rows, channels = shape
    head, widths, means, packed_scores, packed_loadings, scales, coded, low, escapes = parts.split(data, 9)
    if len(head) != 6 or rows < 1 or channels < 1:
        raise FormatError("the head of a matrix has the wrong length; the block was changed")
    fine, bits, r = struct.unpack("<BBI", head)
    if fine > 1 or bits > 60 or r > COMPONENTS or len(scales) != 8 * r:
        raise FormatError(f"a matrix has {r} components; the block was changed")
    rans.check_count(rows * channels, coded)
    width, width_after = parts.inflate(widths, (2, channels), "<i1").astype(np.int64)
    if min(width.min(), width_after.min()) < NARROWEST or max(width.max(), width_after.max()) > 120:
        raise FormatError("the widths of a matrix are out of range; the block was changed")
    mean = np.cumsum(parts.inflate(means, (channels,), "<i4"), dtype=np.int64)
    scores = _from_planes(packed_scores, (r, rows)).T
    loadings = _from_planes(packed_loadings, (r, channels))
    scale = np.frombuffer(scales, "<f8").astype(np.float64)
    if not ((scale > 0) & (scale < 2.0**40)).all():
        raise FormatError("the components of a matrix are out of range; the block was changed")
    term = _terms(loadings, scale, _width(width))
    if _fraction_bits(mean, scores, term) < bits:
        raise FormatError("the prediction of a matrix is out of range; the block was changed")
    eighths = _predict(mean, scores, term, bits)
    shift, context = _contexts(width_after, eighths, bool(fine))
    symbol = rans.decode(coded, context.reshape(-1)).reshape(shape)
    high = symbol.astype(np.int64) - 127
    escaped = symbol == ESCAPE
    high[escaped] = parts.inflate(escapes, (int(np.count_nonzero(escaped)),), "<i4")
    high <<= shift
    _unpack_low(low, shift, high)
    high += eighths >> 3
    if high.size and max(high.max(), -high.min()) >= 2 * LARGEST:
        raise FormatError("the values of a matrix are out of range; the block was changed")
    return high.astype(np.int32)


def _noise(values: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the noise of each channel, from the differences of rows that follow each other, large ones cut off."""
    if len(values) < 2:
        return np.ones(values.shape[1])
    square = np.square(np.diff(values, axis=0), dtype=np.float32)
    for _ in range(3):
        np.minimum(square, 16 * square.mean(axis=0), out=square)
    noise: NDArray[np.float64] = np.sqrt(square.mean(axis=0, dtype=np.float64) / 2)
    return noise


def _classes(width: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return widths in quarters of an octave."""
    classes: NDArray[np.int64] = np.rint(4 * np.log2(np.maximum(width, 2.0 ** (NARROWEST / 4)))).astype(np.int64)
    return classes


def _width(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``2**(classes/4)``, the same on every machine."""
    width: NDArray[np.float64] = np.ldexp(QUARTERS[classes & 3], (classes >> 2).astype(np.int32))
    return width


def _fit(
    values: NDArray[np.int32], width: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return mean (in eighths), scores, loadings and scale of the components that save more bits than they cost."""
    rows, channels = values.shape
    x = values / width.astype(np.float32)
    mean = x.mean(axis=0, dtype=np.float64)
    for _ in range(2):
        spread = 6 * x.std(axis=0)
        np.clip(x, (mean - spread).astype(np.float32), (mean + spread).astype(np.float32), out=x)
        mean = x.mean(axis=0, dtype=np.float64)
    x -= mean.astype(np.float32)
    eighths = np.rint(8 * mean * width).astype(np.int64)
    most = min(COMPONENTS, rows // 4, channels // 4)
    if most < 1:
        return eighths, np.zeros((rows, 0), np.int64), np.zeros((0, channels), np.int64), np.zeros(0)
    u, s, vt = lowrank.truncated_svd(x, most, power=1)
    power = np.square(s, dtype=np.float64)
    left = np.maximum(np.square(x, dtype=np.float64).sum() - np.cumsum(power), 1e-6 * rows * channels)
    saved = 0.5 * rows * channels * np.log2(1 + power / left)
    cost = (rows + channels) * (2.5 + np.log2(1 + s / math.sqrt(rows * channels)))
    n = int(np.argmax(np.concatenate([[0.0], np.cumsum(saved - cost)])))
    scores = np.rint(u[:, :n] * s[:n]).astype(np.int64)
    loadings = np.rint(vt[:n] * s[:n, None]).astype(np.int64)
    return eighths, scores, loadings, 1 / s[:n].astype(np.float64)


def _terms(loadings: NDArray[np.int64], scale: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loadings in units of the values."""
    term: NDArray[np.float64] = loadings * scale[:, None] * width
    return term


def _fraction_bits(mean: NDArray[np.int64], scores: NDArray[np.int64], term: NDArray[np.float64]) -> int:
    """Return how many binary places the terms may have while their sums stay exact; -1 where even none is too many."""
    reach = float(np.abs(mean).max(initial=0)) / 8 + 1
    for j in range(len(term)):
        reach += float(np.abs(scores[:, j]).max()) * (float(np.abs(term[j]).max()) + 1)
    return min(40, math.floor(math.log2(EXACT / reach))) if reach < EXACT / 8 else -1


def _predict(
    mean: NDArray[np.int64], scores: NDArray[np.int64], term: NDArray[np.float64], bits: int
) -> NDArray[np.int32]:
    """Return the prediction in eighths, rounded down."""
    if not len(term):
        return np.broadcast_to(np.clip(mean, -8 * LARGEST, 8 * LARGEST).astype(np.int32), (len(scores), len(mean)))
    total = scores.astype(np.float64) @ np.rint(np.ldexp(term, bits))
    total *= 2.0 ** (3 - bits)
    np.floor(total, out=total)
    total += mean
    np.clip(total, -8 * LARGEST, 8 * LARGEST, out=total)
    return total.astype(np.int32)


def _contexts(
    width: NDArray[np.int64], eighths: NDArray[np.int32], fine: bool
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the number of low bits of each channel and the context of each value."""
    shift = np.maximum(0, (width - WIDEST_BYTE + 3) >> 2).astype(np.int32)
    rest = width - 4 * shift - NARROWEST
    if not fine:
        rest = rest & ~3
        return shift, np.broadcast_to(rest.astype(np.uint8), eighths.shape)
    phase = (eighths & 7).astype(np.uint8)
    phase[:, shift > 0] = 0
    phase += (8 * rest).astype(np.uint8)
    return shift, phase


def _pack_low(residual: NDArray[np.int32], shift: NDArray[np.int32]) -> bytes:
    """Return the low bits of the channels that have them, one plane after the other."""
    planes = []
    for n in np.unique(shift[shift > 0]):
        low = residual[:, shift == n].reshape(-1)
        planes += [np.packbits((low >> b & 1).astype(np.uint8)).tobytes() for b in range(n)]
    return b"".join(planes)


def _unpack_low(data: bytes, shift: NDArray[np.int32], high: NDArray[np.int64]) -> None:
    """Add the low bits to values that lack them."""
    at = 0
    packed = np.frombuffer(data, np.uint8)
    for n in np.unique(shift[shift > 0]):
        channels = np.flatnonzero(shift == n)
        count = len(high) * len(channels)
        size = -(-count // 8)
        if at + n * size > len(packed):
            raise FormatError("the low bits of a matrix are cut off; the block was changed")
        low = np.zeros(count, np.int64)
        for b in range(n):
            low |= np.unpackbits(packed[at : at + size], count=count).astype(np.int64) << b
            at += size
        high[:, channels] += low.reshape(len(high), -1)
    if at != len(packed):
        raise FormatError("a matrix has low bits too many; the block was changed")


def _planes(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the four bytes of whole numbers (signs folded in) as planes: small numbers leave three of zeros."""
    folded = (np.abs(rows) * 2 - (rows < 0)).astype("<u4")
    return np.ascontiguousarray(np.moveaxis(folded[..., None].view(np.uint8), -1, 1))


def _from_planes(data: bytes, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Undo `_planes`."""
    planes = parts.inflate(data, (shape[0], 4, shape[1]), "u1")
    folded = np.ascontiguousarray(np.moveaxis(planes, 1, -1)).view("<u4")[..., 0].astype(np.int64)
    return np.where(folded & 1, -((folded + 1) >> 1), folded >> 1)
