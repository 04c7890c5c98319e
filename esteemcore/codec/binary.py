"""Batches of one-bit frames, coded by classes of detector pixels that are hit equally often."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import frame, maps, zstd
from esteemcore.events import events_from_packed

ID = "esteem.binary-frames"
MAX_VALUES = 2**31
"""Most bytes of packed frames that a block may hold unless the caller says otherwise."""

BINS = (32, 16, 8, 4, 2, 1)
COARSE = 16
"""Bins below this are tried only while smaller ones pay."""

LEAST_HITS = 8
"""Mean hits of a bin below which the pattern in such bins is noise, not worth a map."""

STEPS_PER_OCTAVE = (1, 2)
_COLUMNS = 3


def encode_binary(packed: ArrayLike) -> bytes:
    """Encode a batch of packed one-bit frames without loss.

    Detector pixels, in bins of a size that is chosen, are sorted into classes by how often they are hit in the batch.
    In each class the gaps between hits, over all frames of the batch, are written in Golomb-Rice code (the gaps between
    pixels that are not hit, where most are). Gaps as bytes with zstd, or packed bits with zstd, are used where a sample
    of the batch says that they are smaller.

    Parameters
    ----------
    packed : array_like of uint8, shape (n, ky, kx/8)
        Frames as `esteemcore.events.pack_bits` packs them; a few hundred at a time code best.

    Returns
    -------
    bytes
        The block, which names itself; see `decode_binary`.

    Raises
    ------
    ParameterError
        If the frames are not packed.

    References
    ----------
    S. W. Golomb, IEEE Trans. Inf. Theory 12 (1966) 399, https://doi.org/10.1109/TIT.1966.1053907.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore.events import pack_bits
    >>> frames = pack_bits(np.random.default_rng(0).random((64, 64, 64)) < 0.01)
    >>> block = encode_binary(frames)
    >>> bool((decode_binary(block) == frames).all())
    True
    """
    array = checks.array("packed", packed)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise ParameterError(
            f"packed frames have dtype {array.dtype} and shape {array.shape}; expected uint8 (n, ky, kx/8)"
        )
    blocks = [_encode_classes(array.shape, array)] if array.size else []
    sample = array[len(array) // 2 :][: max(16, len(array) // 32)]
    for method in (_encode_gaps, _encode_bits):
        estimate = len(method(array.shape, sample)) * len(array) / max(len(sample), 1)
        if not blocks or len(array) == len(sample) or estimate < 1.05 * len(blocks[0]):
            blocks.append(method(array.shape, array))
    return min(blocks, key=len)


def decode_binary(data: bytes, *, max_values: int = MAX_VALUES) -> NDArray[np.uint8]:
    """Decode a block that `encode_binary` made.

    Parameters
    ----------
    data : bytes
        One block.
    max_values : int
        Most bytes of packed frames that are accepted: it bounds the memory that a damaged block can ask for.

    Returns
    -------
    ndarray of uint8, shape (n, ky, kx/8)
        Packed frames.

    Raises
    ------
    FormatError
        If the block is damaged, of another kind, or larger than ``max_values``.
    """
    block = frame.unpack(data, ID)
    n, ky, row_bytes = frame.whole_numbers(block.config, "shape", length=3, maximum=2**40)
    if max(n, ky, row_bytes, n * ky * row_bytes, ky * row_bytes) > max_values:
        raise FormatError(
            f"the block says that it holds packed frames of shape ({n}, {ky}, {row_bytes}); up to {max_values} bytes "
            "are accepted (max_values)"
        )
    methods = {"classes": _decode_classes, "gaps": _decode_gaps, "bits": _decode_bits}
    method = block.config.get("method")
    if not isinstance(method, str) or method not in methods:
        raise FormatError(f"the block was coded by the unknown method {method!r}")
    return methods[method](block, (n, ky, row_bytes))


@dataclasses.dataclass(frozen=True, slots=True)
class BinaryFramesCodec:
    """`encode_binary` and `decode_binary` as a codec.

    Attributes
    ----------
    id : str
        ``"esteem.binary-frames"``.
    """

    id: ClassVar[str] = ID

    @property
    def config(self) -> dict[str, Any]:
        """No choices: each block is coded in the way that is smallest."""
        return {}

    def encode(self, data: ArrayLike, /) -> bytes:
        """Return the block of packed frames."""
        return encode_binary(data)

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        """Return the packed frames of a block."""
        return decode_binary(data)


def _words(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return frames as words of 64 pixels, shape (n, words); the pixels after the last one are empty."""
    flat = np.ascontiguousarray(packed).reshape(len(packed), math.prod(packed.shape[1:]))
    if flat.shape[1] % 8:
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8)))
    return flat.view("<u8")


def _bytes(words: NDArray[np.uint64], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return words as packed frames."""
    flat = words.view(np.uint8)[:, : math.prod(shape[1:])]
    return np.ascontiguousarray(flat).reshape(shape)


def _encode_classes(shape: tuple[int, ...], packed: NDArray[np.uint8]) -> bytes:
    """Return the block coded by classes of pixels."""
    from esteemcore.codec import _binary_kernels, _map_kernels, _range_kernels, _rice_kernels

    n, ky, kx = shape[0], shape[1], 8 * shape[2]
    electrons = events_from_packed(packed, kx)
    sums = np.zeros(ky * kx, np.int64)
    _binary_kernels.pixel_sums(electrons.pixel, sums)
    bins, cells, coded_map = choose_classes(sums.reshape(ky, kx), n)
    classes = maps.spread(cells, bins, (ky, kx)).ravel()
    count = int(cells.max()) + 1
    rank, size = np.empty(ky * kx, np.uint32), np.empty(count, np.int64)
    _map_kernels.rank_pixels(classes, rank, size)
    hits = np.bincount(classes, weights=sums, minlength=count).astype(np.int64)
    inverted = 2 * hits > size * n
    if inverted.any():
        hits = np.where(inverted, size * n - hits, hits)
        electrons = events_from_packed(packed ^ _flipped(inverted, classes).reshape(shape[1:]), kx)
    k = np.array([_rice_kernels.parameter(h, s * n) for h, s in zip(hits, size, strict=True)])
    first = np.concatenate([[0], np.cumsum((hits * (k + 1) + (size * n >> k)) // 8 + 16)])
    out, length = np.empty(first[-1], np.uint8), np.empty(count, np.int64)
    _binary_kernels.put_frames(electrons.offset, electrons.pixel, classes, rank, size, k, first, out, length)
    table = np.stack([hits, inverted, length], 1).astype(np.int64)
    index = np.empty(20 * table.size + 16, np.uint8)
    head = index[: _range_kernels.put_table(table, index)].tobytes()
    parts = [out[a : a + m].tobytes() for a, m in zip(first[:-1], length, strict=True)]
    config = {
        "bins": bins,
        "classes": count,
        "index": len(head),
        "map": len(coded_map),
        "method": "classes",
        "shape": list(shape),
    }
    return frame.pack(ID, config, b"".join([coded_map, head, *parts]))


def _flipped(inverted: NDArray[Any], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the packed mask, flat, of the pixels of inverted classes."""
    return np.packbits(inverted.astype(np.uint8)[classes], bitorder="little")


def choose_classes(sums: NDArray[np.int64], n: int) -> tuple[int, NDArray[np.uint8], bytes]:
    """Return bin size, classes of the bins and their coded map, so that the batch is smallest.

    Parameters
    ----------
    sums : ndarray of int64, shape (ky, kx)
        Hits of each pixel.
    n : int
        Frames in the batch.
    """
    from esteemcore.codec import _binary_kernels

    longest = max(sums.shape)
    totals = {1: sums}
    for bins in reversed(BINS[:-1]):
        totals[bins] = halved(totals[bins // 2])
    totals[longest] = sums.sum(keepdims=True)
    best = (math.inf, longest, np.zeros((1, 1), np.uint8), b"")
    for bins in [longest, *(b for b in BINS if b < longest)]:
        if bins < longest and sums.sum() * bins**2 < LEAST_HITS * sums.size:
            continue
        before = best
        total, places = totals[bins], n * pixels_of_bins(sums.shape, bins)
        for steps in STEPS_PER_OCTAVE:
            cells = np.empty(total.shape, np.uint8)
            count = _binary_kernels.classify(total.ravel(), places.ravel(), steps, cells.reshape(-1))
            flat = cells.ravel()
            hits, area = (np.bincount(flat, weights=v.ravel(), minlength=count) for v in (total, places))
            size = float(binomial_bits(hits, area).sum()) / 8 + 4 * count
            if count > maps.MOST or size > best[0]:
                continue
            coded = maps.encode_map(cells)
            if size + len(coded) < best[0]:
                best = size + len(coded), bins, cells, coded
        if best is before and bins < COARSE:
            break
    return best[1:]


def pixels_of_bins(shape: tuple[int, ...], bins: int) -> NDArray[np.int64]:
    """Return how many pixels of an image each square bin holds."""
    height, width = (np.minimum(bins, size - np.arange(0, size, bins)) for size in shape)
    return np.multiply.outer(height, width)


def halved(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums over 2 x 2 neighbours; those at the lower and right edges may be fewer."""
    rows = values[::2].copy()
    rows[: len(values) // 2] += values[1::2]
    both = rows[:, ::2].copy()
    both[:, : values.shape[1] // 2] += rows[:, 1::2]
    return both


def binomial_bits(hits: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy in bits of hits that fall anywhere among places."""
    empty = places - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(hits > 0, hits * np.log2(places / hits), 0) + np.where(
            empty > 0, empty * np.log2(places / empty), 0
        )
    return np.asarray(bits)


def _decode_classes(block: frame.Frame, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the packed frames of a block coded by classes."""
    from esteemcore.codec import _binary_kernels, _range_kernels, _rice_kernels

    n, ky, row_bytes = shape
    kx = 8 * row_bytes
    bins = frame.whole_number(block.config, "bins", 1, max(ky, kx))
    count = frame.whole_number(block.config, "classes", 1, maps.MOST)
    n_map = frame.whole_number(block.config, "map", 0, len(block.payload))
    at = n_map + frame.whole_number(block.config, "index", 0, len(block.payload) - n_map)
    data = np.frombuffer(block.payload + bytes(_rice_kernels.PADDING), np.uint8)
    table = np.empty((count, _COLUMNS), np.int64)
    if not _range_kernels.get_table(data[n_map:at], table):
        raise FormatError("the table of the block is damaged")
    classes = maps.decode_map(data[:n_map], count, bins, (ky, kx)).ravel()
    order = np.argsort(classes, kind="stable").astype(np.uint32)
    edges = np.searchsorted(classes[order], np.arange(count + 1))
    frames = np.zeros((n, ky * row_bytes), np.uint8)
    inverted = np.zeros(count, np.uint8)
    for c, (hits, flip, length) in enumerate(table.tolist()):
        pixels = order[edges[c] : edges[c + 1]]
        if length > len(block.payload) - at or hits > min(8 * length, n * len(pixels)) or flip > 1:
            raise FormatError("the table of the block is damaged")
        inverted[c] = flip
        k = _rice_kernels.parameter(hits, n * len(pixels))
        if hits and not _binary_kernels.get_class(data[at:], 8 * length, hits, k, pixels, frames):
            raise FormatError("the frames of the block are damaged")
        at += length
    if at != len(block.payload):
        raise FormatError("the block is longer than its table says")
    if inverted.any():
        frames ^= _flipped(inverted, classes)
    return frames.reshape(shape)


def _encode_gaps(shape: tuple[int, ...], packed: NDArray[np.uint8]) -> bytes:
    """Return the block coded as gaps in bytes and zstd."""
    from esteemcore.codec import _binary_kernels

    words = _words(packed)
    size, room = -1, 2 * int(np.bitwise_count(words).sum()) + 64
    while size < 0:
        out = np.empty(room, np.uint8)
        size = _binary_kernels.put_gap_bytes(words, out)
        room *= 2
    config = {"bytes": int(size), "method": "gaps", "shape": list(shape)}
    return frame.pack(ID, config, zstd.compress(out[:size]))


def _decode_gaps(block: frame.Frame, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the packed frames of a block coded as gaps in bytes."""
    from esteemcore.codec import _binary_kernels

    size = block.config.get("bytes")
    words = np.zeros((shape[0], -(-shape[1] * shape[2] // 8)), "<u8")
    if type(size) is not int or not 0 <= size <= 10 * 64 * words.size:
        raise FormatError("the head of the block does not fit the block")
    if not _binary_kernels.get_gap_bytes(zstd.decompress(block.payload, size), words):
        raise FormatError("the frames of the block are damaged")
    return _bytes(words, shape)


def _encode_bits(shape: tuple[int, ...], packed: NDArray[np.uint8]) -> bytes:
    """Return the block as packed bits with zstd."""
    return frame.pack(ID, {"method": "bits", "shape": list(shape)}, zstd.compress(packed))


def _decode_bits(block: frame.Frame, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the packed frames of a block of packed bits."""
    return zstd.decompress(block.payload, math.prod(shape)).reshape(shape)
