"""Counted spectrum images as events, channel by channel, within a few percent of their Shannon entropy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import frame, maps, pixel_classes, spectra
from esteemcore.events import SparseSI

ID = "esteem.events"
MAX_VALUES = 2**28
"""Most pixels, and most non-zero values, that a block may hold unless the caller says otherwise (some GB)."""

DENSE = 40
"""Channels where one pixel in so many is hit, or more, are coded place by place."""

SEGMENT_BITS, PLACES_BITS = 26.0, 400.0
"""What a segment costs beside its events: in the table, and until its contexts are learnt."""

SEGMENT_CHANNELS, SEGMENT_MOST = 64, 65536.0
"""Most channels of a segment, and most bits of one with several channels: what random access reads in vain."""

LEAST_ROWS = 2 * spectra.MOST_CHANNELS
"""Channels of all classes together that are accepted however small ``max_values`` is: an encoder writes no more for
few pixels, which are one class and the places of the dense channels."""

_COLUMNS = 5
_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def encode_events(si: SparseSI | ArrayLike) -> bytes:
    """Encode a counted spectrum image without loss.

    The spectrum is cut into segments of energy channels, one channel each where there are many counts. In a segment the
    gaps between the pixels that are not zero are written in Golomb-Rice code with that segment's own parameter, counts
    above one beside them; where more than a tenth of the places are hit, an adaptive binary coder codes each place
    given the counts around it. The gaps as bytes with zstd are used instead when that is smaller.

    Parameters
    ----------
    si : SparseSI or array_like of integers, shape (..., y, x, energy)
        Counts of 0 to 4,294,967,295. A series (frame, y, x, energy) is best given frame by frame.

    Returns
    -------
    bytes
        The block, which names itself; see `decode_events`.

    Raises
    ------
    ParameterError
        If a count is negative or above 4,294,967,295, or if there are more than 1,048,576 channels.

    References
    ----------
    S. W. Golomb, IEEE Trans. Inf. Theory 12 (1966) 399, https://doi.org/10.1109/TIT.1966.1053907.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(0.01, (32, 32, 256))
    >>> block = encode_events(counts)
    >>> counts.nbytes > 600 * len(block)
    True
    >>> np.array_equal(decode_events(block).to_dense(), counts)
    True
    """
    sparse = si if isinstance(si, SparseSI) else _sparse(checks.array("si", si))
    low, high = (int(sparse.count.min()), int(sparse.count.max())) if sparse.count.size else (1, 1)
    if low < 0 or high > 0xFFFFFFFF:
        raise ParameterError(f"the spectrum image holds counts of {low} to {high}; expected 0 to {0xFFFFFFFF}")
    spectra.few_channels(sparse.shape)
    count = sparse.count.astype(np.uint32, copy=False)
    config = {"dtype": sparse.dtype.name, "hits": len(count), "shape": list(sparse.shape)}
    by_channel = _encode_channels(sparse, count, config)
    by_bytes = _encode_varint(sparse, count, config)
    return min(by_channel, by_bytes, key=len)


def decode_events(data: bytes, *, energy: tuple[int, int] | None = None, max_values: int = MAX_VALUES) -> SparseSI:
    """Decode a block that `encode_events` made.

    Parameters
    ----------
    data : bytes
        One block.
    energy : (int, int), optional
        Decode only channels ``start`` to ``stop`` (not included); the others are skipped.
    max_values : int
        Most pixels, and most non-zero counts in the whole block, that are accepted: a bound on the memory that a
        damaged or hostile block can ask for.

    Returns
    -------
    SparseSI
        What was encoded, of the same shape (but for ``energy``) and dtype.

    Raises
    ------
    FormatError
        If the block is damaged, of another kind, or larger than ``max_values``.
    """
    block = frame.unpack(data, ID)
    shape = frame.whole_numbers(block.config, "shape", maximum=2**40)
    hits, method, name = (block.config.get(key) for key in ("hits", "method", "dtype"))
    pixels, channels = math.prod(shape[:-1]), shape[-1] if shape else 0
    if len(shape) < 3 or len(shape) > 32 or name not in _DTYPES or type(hits) is not int:
        raise FormatError(f"the block holds no spectrum image: its shape is {shape}, its dtype {name!r}")
    if max(pixels, channels, hits) > max_values or not 0 <= hits <= pixels * channels < 2**61:
        raise FormatError(
            f"the block says that it holds {hits} counts in a spectrum image {shape}; up to {max_values} pixels and "
            "counts are accepted (max_values)"
        )
    start, stop = (0, channels) if energy is None else _energy_range(energy, channels)
    if method == "channels":
        table = _decode_channels(block, shape, hits, start, stop, max(max_values // 8, LEAST_ROWS))
    elif method == "varint":
        table = _decode_varint(block, pixels, channels, hits, start, stop)
    else:
        raise FormatError(f"the block was coded by the unknown method {method!r}")
    offset, channel, count = table
    if count.size and int(count.max()) > np.iinfo(name).max:
        raise FormatError(f"the block holds a count of {int(count.max())}, too much for its dtype {name}")
    dtype = np.dtype(name)
    return SparseSI((*shape[:-1], stop - start), dtype, offset, channel, count.astype(dtype, copy=False))


@dataclasses.dataclass(frozen=True, slots=True)
class EventsCodec:
    """`encode_events` and `decode_events` as a codec.

    Attributes
    ----------
    id : str
        ``"esteem.events"``.
    """

    id: ClassVar[str] = ID

    @property
    def config(self) -> dict[str, Any]:
        """No choices: each block is coded in the way that is smallest."""
        return {}

    def encode(self, data: SparseSI | ArrayLike, /) -> bytes:
        """Return the block of a spectrum image."""
        return encode_events(data)

    def decode(self, data: bytes, /) -> SparseSI:
        """Return the spectrum image of a block."""
        return decode_events(data)


def _sparse(dense: NDArray[Any]) -> SparseSI:
    """Return what `SparseSI.from_dense` does, faster."""
    from esteemcore.codec import _entry_kernels

    if dense.ndim < 3 or dense.dtype.kind not in "iu" or not dense.size:
        return SparseSI.from_dense(dense)
    native = np.ascontiguousarray(dense, dense.dtype.newbyteorder("="))
    rows = native.reshape(-1, dense.shape[-1])
    hits = int(np.count_nonzero(rows))
    offset, channel = np.empty(len(rows) + 1, np.int64), np.empty(hits, np.uint32)
    unsigned = np.dtype(f"u{native.dtype.itemsize}")
    count = np.empty(hits, unsigned)
    _entry_kernels.find_counts(rows.view(unsigned), offset, channel, count)
    return SparseSI(dense.shape, native.dtype, offset, channel, count.view(native.dtype))


def _energy_range(energy: tuple[int, int], channels: int) -> tuple[int, int]:
    """Return the range of channels, checked."""
    try:
        start, stop = energy
    except (TypeError, ValueError):
        raise ParameterError(f"energy is {energy!r}; expected two channels (start, stop)") from None
    start = checks.integer("start of energy", start, minimum=0, maximum=channels)
    return start, checks.integer("stop of energy", stop, minimum=start, maximum=channels)


def _encode_channels(sparse: SparseSI, count: NDArray[np.uint32], config: dict[str, Any]) -> bytes:
    """Return the block coded by energy channels."""
    from esteemcore.codec import _entry_kernels, _event_kernels, _map_kernels, _range_kernels

    channels, width = sparse.shape[-1], sparse.shape[-2]
    pixels, hits = len(sparse.offset) - 1, np.zeros(channels, np.int64)
    image = (pixels // max(width, 1), width)
    _entry_kernels.channel_hits(sparse.channel, hits)
    found = pixel_classes.find_classes(sparse.offset, sparse.channel, hits, image)
    classes = maps.spread(found.cells, found.bins, image).ravel()
    n = int(classes.max(initial=0)) + 1
    rank, sizes = np.empty(pixels, np.uint32), np.zeros(n + 1, np.int64)
    _map_kernels.rank_pixels(classes, rank, sizes[:n])
    sizes[n] = pixels
    dense = hits * DENSE >= max(pixels, 1)
    first = np.zeros((n + 1, channels + 1), np.int64)
    pixel, value = np.empty(len(count), np.uint32), np.empty(len(count), np.uint32)
    _entry_kernels.by_channel(sparse.offset, sparse.channel, count, classes, rank, dense, first, pixel, value)
    tables, parts = [], []
    for q in range(n + 1):
        length = np.zeros(channels, np.int64)
        extra = PLACES_BITS if q == n else SEGMENT_BITS
        segments = _entry_kernels.segment_channels(
            np.diff(first[q]), sizes[q], extra, SEGMENT_CHANNELS, SEGMENT_MOST, length
        )
        table = np.empty((segments, _COLUMNS), np.int64)
        size, room = -1, 3 * int(first[q, -1] - first[q, 0]) + 4096
        while size < 0:
            out = np.empty(room, np.uint8)
            size = _event_kernels.put_segments(
                length[:segments], first[q], pixel, value, sizes[q], width, classes, n, q == n, table, out
            )
            room *= 2
        tables.append(table)
        parts.append(out[:size].tobytes())
    whole = np.concatenate(tables)
    index = np.empty(20 * whole.size + 16, np.uint8)
    head = index[: _range_kernels.put_table(whole, index)].tobytes()
    config = config | {
        "bins": found.bins,
        "classes": n,
        "index": len(head),
        "map": len(found.coded),
        "method": "channels",
        "segments": len(whole),
    }
    return frame.pack(ID, config, b"".join([found.coded, head, *parts]))


def _decode_channels(
    block: frame.Frame, shape: tuple[int, ...], hits: int, start: int, stop: int, most_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return offsets, channels and counts of a block coded by energy channels."""
    from esteemcore.codec import _entry_kernels, _event_kernels, _range_kernels, _rice_kernels

    pixels, channels, width = math.prod(shape[:-1]), shape[-1], shape[-2]
    image = (pixels // max(width, 1), width)
    n = frame.whole_number(block.config, "classes", 1, maps.MOST)
    bins = frame.whole_number(block.config, "bins", 1, max(*image, 1))
    if (n + 1) * channels > most_rows:
        raise FormatError(f"the block says that it holds {n} classes of {channels} channels; too many (max_values)")
    segments = frame.whole_number(block.config, "segments", 0, (n + 1) * channels)
    n_map = frame.whole_number(block.config, "map", 0, len(block.payload))
    at = n_map + frame.whole_number(block.config, "index", 0, len(block.payload) - n_map)
    data = np.frombuffer(block.payload + bytes(_rice_kernels.PADDING), np.uint8)
    classes = maps.decode_map(data[:n_map], n, bins, image).ravel()
    order = np.argsort(classes, kind="stable").astype(np.uint32)
    sizes = np.append(np.bincount(classes, minlength=n), pixels)
    edges = np.concatenate([[0], np.cumsum(sizes[:n])])
    table, rows = np.empty((segments, _COLUMNS), np.int64), np.zeros(n + 2, np.int64)
    if (
        not _range_kernels.get_table(data[n_map:at], table)
        or _event_kernels.check_table(table, sizes, channels, len(block.payload) - at, hits, rows) != hits
    ):
        raise FormatError("the table of the block is damaged")
    wanted, pixel_parts, value_parts = np.zeros((n + 1, stop - start), np.int64), [], []
    for q in range(n + 1):
        part = table[rows[q] : rows[q + 1]]
        ends = np.cumsum(part[:, 0])
        used = slice(np.searchsorted(ends, start, side="right"), np.searchsorted(ends, stop) + 1)
        if start < stop and len(part[used]):
            here = int(ends[used.start] - part[used.start, 0])
            in_channel = np.zeros(int(part[used, 0].sum()), np.int64)
            pixel, value = (np.empty(int(part[used, 1].sum()), np.uint32) for _ in range(2))
            first = at + int(part[: used.start, 4].sum())
            if not _event_kernels.get_segments(
                data, first, part[used], sizes[q], width, classes, n, in_channel, pixel, value
            ):
                raise FormatError("the events of the block are damaged")
            wanted[q] = in_channel[start - here : stop - here]
            before = int(in_channel[: start - here].sum())
            kept = slice(before, before + int(wanted[q].sum()))
            pixel_parts.append(order[edges[q] :][pixel[kept]] if q < n else pixel[kept])
            value_parts.append(value[kept])
        at += int(part[:, 4].sum())
    pixel, value = (np.concatenate([np.empty(0, np.uint32), *parts]) for parts in (pixel_parts, value_parts))
    offset, channel, count = np.empty(pixels + 1, np.int64), np.empty_like(pixel), np.empty_like(value)
    _entry_kernels.by_pixel(wanted, pixel, value, offset, channel, count)
    return offset, channel, count


def _encode_varint(sparse: SparseSI, count: NDArray[np.uint32], config: dict[str, Any]) -> bytes:
    """Return the block coded as the gaps of the whole spectrum image in bytes and zstd."""
    from esteemcore.codec import _varint_kernels, zstd

    out = np.empty(15 * len(count) + 16, np.uint8)
    size = _varint_kernels.put_rows(sparse.offset, sparse.channel, count, sparse.shape[-1], out)
    return frame.pack(ID, config | {"bytes": int(size), "method": "varint"}, zstd.compress(out[:size]))


def _decode_varint(
    block: frame.Frame, pixels: int, channels: int, hits: int, start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return offsets, channels and counts of a block coded as gaps in bytes."""
    from esteemcore.codec import _varint_kernels, zstd

    size = block.config.get("bytes")
    if type(size) is not int or not 0 <= size <= 15 * hits:
        raise FormatError("the head of the block does not fit the block")
    data = zstd.decompress(block.payload, size)
    offset, channel, count = np.empty(pixels + 1, np.int64), np.empty(hits, np.uint32), np.empty(hits, np.uint32)
    if not _varint_kernels.get_rows(data, max(channels, 1), offset, channel, count):
        raise FormatError("the events of the block are damaged")
    if (start, stop) == (0, channels):
        return offset, channel, count
    keep = (channel >= start) & (channel < stop)
    return np.concatenate([[0], np.cumsum(keep)])[offset], channel[keep] - np.uint32(start), count[keep]
