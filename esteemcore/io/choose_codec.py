"""Which codec a signal gets, and in blocks of which shape."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import EsteemError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.events import EventTable, SparseSI
from esteemcore.io import sparse_tiles
from esteemcore.io.chunk_codecs import BINARY, BLOCKS, EVENTS, LOSSLESS, ChunkCodec, chunk_codec
from esteemcore.io.dataset import Axis, Signal
from esteemcore.io.loss import LossCheck
from esteemcore.io.stored_events import StoredEvents, tile_shape

WORTH = 0.9
"""A codec of Esteem replaces zstd, which every Zarr library has, or a faster one when it makes a sample smaller than
this part: where counts are not mostly zero, events are a few percent smaller and read some twenty times more slowly."""

BLOCK_BYTES = 4 * 2**20
"""Raw bytes of a block of images, frames and what is compressed by zstd."""

SPECTRA_BYTES = 16 * 2**20
"""Raw bytes of a block of spectra in a codec of Esteem: it learns from all pixels of a block."""

EVENT_BYTES = 64 * 2**20
"""Bytes of a block of events if it were dense, which is what plain Zarr makes of it."""


IMAGE_BYTES = 64 * 2**20
"""Raw bytes of a block of spectra in coarse blocks of channels, whose components want a whole spectrum image."""

MOST_COUNT = 0xFFFFFFFF
"""Largest count that the codec of events holds."""

SAMPLES = 8
"""Blocks whose spectra are averaged to choose coarse blocks of channels."""

SPECTRAL = ("energy", "wavelength")
"""Names of the axes of spectra."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one signal is stored."""

    codec: ChunkCodec
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(np.prod([-(-s // c) for s, c in zip(self.shape, self.chunks, strict=True)], dtype=np.int64))

    def places(self) -> Iterator[tuple[int, ...]]:
        """Yield the coordinates of all blocks."""
        return itertools.product(*(range(-(-s // c)) for s, c in zip(self.shape, self.chunks, strict=True)))

    def inside(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what a block has within the signal."""
        parts = zip(place, self.chunks, self.shape, strict=True)
        return tuple(max(min(c, s - b * c), 0) for b, c, s in parts)


def plan(name: str, signal: Signal, spec: Any = None) -> Plan:
    """Decide how a signal is stored.

    Parameters
    ----------
    name : str
        Its name, for messages.
    signal : Signal
        What is to be stored.
    spec : str, mapping or codec, optional
        What the user asks for, see `chunk_codecs.chunk_codec`. Default: events as events; one-bit frames in their codec
        and spectra without loss, or as events where they are counts, if that makes a sample clearly smaller than zstd
        does; zstd for the others.

    Raises
    ------
    ParameterError
        If the signal cannot be stored, or not with this codec.
    """
    shape, dtype = _check(name, signal)
    if signal.kind == "events":
        codec = chunk_codec(EVENTS if spec is None else spec)
        if codec.name != EVENTS:
            raise ParameterError(
                f"signal {name!r} holds events, which are stored with {EVENTS!r}, not with {codec.name!r}; make it "
                "dense first (SparseSI.to_dense) to use another codec"
            )
        return Plan(codec, shape, tile_shape(shape, dtype.itemsize, EVENT_BYTES), dtype)
    if spec is not None:
        return _asked(name, signal, chunk_codec(spec), shape, dtype)
    best = _dense_plan(signal, ChunkCodec(), shape, dtype)
    candidates = _candidates(signal, shape, dtype) if all(shape) else []
    smallest = _ratio(signal, best) if candidates else 0.0
    for candidate in candidates:
        special = _dense_plan(signal, chunk_codec(candidate), shape, dtype)
        ratio = _ratio(signal, special)
        if ratio < WORTH * smallest and (candidate != EVENTS or _all_counts(signal, best)):
            best, smallest = special, ratio
    return best


def automatic_blocks(name: str, signal: Signal, progress: ProgressFunction | None = None) -> list[tuple[int, int, int]]:
    """Return coarse blocks of channels for all of a signal, chosen from the mean of a sample of its spectra.

    Parameters
    ----------
    name : str
        Its name, for messages.
    signal : Signal
        Spectra ((frame,) y, x, energy); up to `SAMPLES` blocks of them are read.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    list of (int, int, int)
        First channel, channel after the last one, factor.

    Raises
    ------
    ParameterError
        If the signal holds no spectra that coarse blocks can store.
    """
    from esteemcore.codec import eels

    plan = _asked(name, signal, chunk_codec(BLOCKS), *_check(name, signal))
    places = list(plan.places())
    sampled = places[:: -(-len(places) // SAMPLES)] if places else []
    steps = Progress(len(sampled) + 1, progress)
    rows: list[NDArray[Any]] = []
    for place in sampled:
        block = dense_block(signal.data, plan, place)[tuple(map(slice, plan.inside(place)))]
        spectra = block.reshape(-1, plan.shape[-1])
        rows.append(spectra[:: -(-len(spectra) * SAMPLES * spectra.itemsize * plan.shape[-1] // IMAGE_BYTES)])
        steps.step()
    blocks = eels.choose_blocks(np.concatenate(rows)) if rows else []
    steps.step()
    return blocks


def parse_blocks(text: str) -> list[tuple[float, float, int]]:
    """Return the blocks (start, stop, factor) of a text, as `blocks_in_channels` takes them.

    Raises
    ------
    ParameterError
        If it cannot be read.

    Examples
    --------
    >>> parse_blocks("100:450:40, 450:484:1")
    [(100.0, 450.0, 40), (450.0, 484.0, 1)]
    """
    blocks = []
    for word in text.split(","):
        try:
            start, stop, factor = word.split(":")
            blocks.append((float(start), float(stop), int(factor)))
        except ValueError:
            raise ParameterError(
                f"blocks are {word.strip()!r}; expected start:stop:factor in the unit of the energy axis, as in "
                "100:450:40, 450:484:1 (factor 1 keeps four significant figures), or auto"
            ) from None
    return blocks


def blocks_in_channels(blocks: Sequence[tuple[float, float, int]], axis: Axis) -> list[tuple[int, int, int]]:
    """Return blocks that are given in the unit of an energy axis in channels, as the codec takes them.

    Raises
    ------
    ParameterError
        If the axis does not rise, or a block is empty, overlaps with the one before, or leaves the spectrum.
    """
    from esteemcore.codec import energy_blocks

    return energy_blocks.channel_blocks(blocks, axis.size, axis.coordinates)


def block_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of blocks of about 4 MB: the last axes whole, the first ones cut."""
    room = max(BLOCK_BYTES // itemsize, 1)
    chunks = []
    for size in reversed(shape):
        chunks.append(max(min(size, room), 1))
        room = max(room // max(size, 1), 1)
    return tuple(reversed(chunks))


def dense_block(data: Any, plan: Plan, place: tuple[int, ...]) -> NDArray[Any]:
    """Return the values of one block, read from the data and padded at the rims: with zeros or the last values."""
    parts = zip(place, plan.chunks, plan.shape, strict=True)
    part = np.asarray(data[tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in parts)])
    if part.shape == plan.chunks:
        return np.ascontiguousarray(part, plan.dtype)
    if plan.codec.lossy and part.size:  # it learns from all spectra of a block: zeros are none
        return np.pad(
            part.astype(plan.dtype), [(0, c - n) for c, n in zip(plan.chunks, part.shape, strict=True)], "edge"
        )
    block = np.zeros(plan.chunks, plan.dtype)
    block[tuple(slice(n) for n in part.shape)] = part
    return block


def event_blocks(data: SparseSI | StoredEvents, plan: Plan) -> Iterator[tuple[tuple[int, ...], SparseSI]]:
    """Yield the blocks of a spectrum image of events, with one frame in memory at a time."""
    series = len(plan.shape) == 4
    for number in range(plan.shape[0] if series else 1):
        if not series:
            frame = data.load() if isinstance(data, StoredEvents) else data
        else:
            frame = data.frame(number) if isinstance(data, StoredEvents) else sparse_tiles.frame_of(data, number)
        for place, tile in frame_blocks(frame, plan):
            yield ((number, *place) if series else place), tile


def frame_blocks(frame: SparseSI, plan: Plan) -> Iterator[tuple[tuple[int, ...], SparseSI]]:
    """Yield the blocks (y, x, 0) of one spectrum image (y, x, energy) of a signal of events."""
    pixels = plan.chunks[-3:-1]
    for y, x in itertools.product(*(range(-(-s // c)) for s, c in zip(plan.shape[-3:-1], pixels, strict=True))):
        starts = (y * pixels[0], x * pixels[1])
        region = tuple(slice(a, min(a + c, s)) for a, c, s in zip(starts, pixels, plan.shape[-3:-1], strict=True))
        tile = sparse_tiles.cut(frame, region, pixels)
        yield (y, x, 0), tile if len(plan.shape) == 3 else dataclasses.replace(tile, shape=plan.chunks)


def _check(name: str, signal: Signal) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and native dtype of a signal that can be stored."""
    if isinstance(signal.data, EventTable):
        raise ParameterError(
            f"signal {name!r} is a table of events in detector frames; store packed one-bit frames instead, or a "
            "SparseSI for spectra"
        )
    dtype = np.dtype(signal.data.dtype).newbyteorder("=")
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise ParameterError(f"signal {name!r} has dtype {dtype}; expected numbers or booleans")
    shape = tuple(map(int, signal.data.shape))
    if signal.kind == "events" and (not isinstance(signal.data, SparseSI | StoredEvents) or len(shape) not in (3, 4)):
        raise ParameterError(
            f"signal {name!r} of kind 'events' is a {type(signal.data).__name__} of shape {shape}; expected a SparseSI "
            "(y, x, energy) or (frame, y, x, energy)"
        )
    return shape, dtype


def _asked(name: str, signal: Signal, codec: ChunkCodec, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Plan:
    """Return the plan with a codec that the user chose, where it can hold the signal."""
    if codec.name == BINARY and (signal.kind != "packed" or len(shape) != 3):
        raise ParameterError(
            f"signal {name!r} is {signal.kind} with {len(shape)} axes; {BINARY!r} stores packed frames (frame, ky, kx)"
        )
    if codec.name == EVENTS and (dtype.kind not in "iu" or len(shape) < 3):
        raise ParameterError(f"signal {name!r} has shape {shape} and dtype {dtype}; {EVENTS!r} stores whole counts")
    if codec.lossy and (signal.kind == "packed" or dtype.kind not in "iuf" or len(shape) not in (3, 4)):
        raise ParameterError(
            f"signal {name!r} is {signal.kind} of shape {shape} and dtype {dtype}; {codec.name!r} stores spectra "
            "((frame,) y, x, energy)"
        )
    return _dense_plan(signal, codec, shape, dtype)


def _dense_plan(signal: Signal, codec: ChunkCodec, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Plan:
    if codec.codec is None or codec.name == BINARY or len(shape) < 3:
        return Plan(codec, shape, block_shape(shape, dtype.itemsize), dtype)
    if codec.name == BLOCKS:
        return Plan(codec, shape, tile_shape(shape, dtype.itemsize, IMAGE_BYTES), dtype)
    if signal.axes[-1].name in SPECTRAL or codec.name == EVENTS or codec.lossy:
        return Plan(codec, shape, tile_shape(shape, dtype.itemsize, SPECTRA_BYTES), dtype)
    return Plan(codec, shape, block_shape(shape, dtype.itemsize), dtype)


def _candidates(signal: Signal, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[str]:
    """Return the codecs of Esteem that are made for such a signal and lose nothing, the faster one first."""
    if signal.kind == "packed":
        return [BINARY] if len(shape) == 3 else []
    if signal.axes[-1].name not in SPECTRAL or len(shape) < 2 or dtype.kind not in "iufc":
        return []
    return [LOSSLESS, EVENTS] if dtype.kind in "iu" and len(shape) in (3, 4) else [LOSSLESS]


def _all_counts(signal: Signal, plan: Plan) -> bool:
    """Return whether all values are counts that the codec of events holds; signed ones are read to know."""
    if plan.dtype.kind == "u" and plan.dtype.itemsize <= 4:
        return True
    for place in plan.places():
        block = dense_block(signal.data, plan, place)
        if block.min() < 0 or block.max() > MOST_COUNT:
            return False
    return True


def _ratio(signal: Signal, plan: Plan) -> float:
    """Return encoded bytes per raw byte of the block in the middle; infinite where the codec cannot hold it.

    What pads a block at the rim is none of the signal's bytes, and costs next to nothing.
    """
    place = tuple((-(-s // c) - 1) // 2 for s, c in zip(plan.shape, plan.chunks, strict=True))
    block = dense_block(signal.data, plan, place)
    try:
        return sum(map(len, plan.codec.encode(block))) / (math.prod(plan.inside(place)) * block.itemsize)
    except EsteemError:
        return float("inf")


__all__ = [
    "LossCheck",
    "Plan",
    "automatic_blocks",
    "block_shape",
    "blocks_in_channels",
    "dense_block",
    "event_blocks",
    "frame_blocks",
    "parse_blocks",
    "plan",
]
