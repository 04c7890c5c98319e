"""Which codec a signal gets, in blocks of which shape, and what was lost where the user allowed it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import EsteemError, ParameterError, StreamError
from esteemcore.events import EventTable, SparseSI
from esteemcore.io import sparse_tiles
from esteemcore.io.chunk_codecs import BINARY, EVENTS, LOSSLESS, ChunkCodec, chunk_codec
from esteemcore.io.dataset import Signal
from esteemcore.io.stored_events import StoredEvents, tile_shape

WORTH = 0.9
"""A codec of Esteem replaces zstd, which every Zarr library has, when it makes a sample smaller than this part."""

BLOCK_BYTES = 4 * 2**20
"""Raw bytes of a block of images, frames and what is compressed by zstd."""

SPECTRA_BYTES = 16 * 2**20
"""Raw bytes of a block of spectra in a codec of Esteem: it learns from all pixels of a block."""

EVENT_BYTES = 64 * 2**20
"""Bytes of a block of events if it were dense, which is what plain Zarr makes of it."""


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


def plan(name: str, signal: Signal, spec: Any = None) -> Plan:
    """Decide how a signal is stored.

    Parameters
    ----------
    name : str
        Its name, for messages.
    signal : Signal
        What is to be stored.
    spec : str, mapping or codec, optional
        What the user asks for, see `chunk_codecs.chunk_codec`. Default: events as events; one-bit frames and spectra in
        the codec made for them where a sample becomes clearly smaller than by zstd; zstd for the others.

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
    plain = _dense_plan(signal, ChunkCodec(), shape, dtype)
    spectra = signal.axes[-1].name == "energy" and len(shape) >= 3 and dtype.kind in "iuf"
    packed = signal.kind == "packed" and len(shape) == 3
    if not all(shape) or not (packed or spectra):
        return plain
    special = _dense_plan(signal, chunk_codec(BINARY if packed else LOSSLESS), shape, dtype)
    return special if _ratio(signal, special) < WORTH * _ratio(signal, plain) else plain


def block_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of blocks of about 4 MB: the last axes whole, the first ones cut."""
    room = max(BLOCK_BYTES // itemsize, 1)
    chunks = []
    for size in reversed(shape):
        chunks.append(max(min(size, room), 1))
        room = max(room // max(size, 1), 1)
    return tuple(reversed(chunks))


def dense_block(data: Any, plan: Plan, place: tuple[int, ...]) -> NDArray[Any]:
    """Return the values of one block, read from the data and padded with zeros."""
    parts = zip(place, plan.chunks, plan.shape, strict=True)
    part = np.asarray(data[tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in parts)])
    if part.shape == plan.chunks:
        return np.ascontiguousarray(part, plan.dtype)
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


class LossCheck:
    """Compares what a lossy codec stores with what it was given.

    Parameters
    ----------
    name : str
        Name of the signal.
    codec : ChunkCodec
        A lossy one.
    """

    def __init__(self, name: str, codec: ChunkCodec) -> None:
        self._name, self._codec = name, codec
        self._largest = self._squares = self._sigmas = self._sigma_squares = 0.0
        self._values = 0

    def add(self, block: NDArray[Any], data: bytes) -> None:
        """Take one block and its bytes.

        Raises
        ------
        StreamError
            If the codec did not keep what it promises; nothing may be stored in this way.
        """
        back = np.asarray(self._codec.decode(data, block.shape, block.dtype))
        given, stored = block.astype(np.float64), back.astype(np.float64)
        finite = np.isfinite(given)
        error = np.abs(np.where(finite, stored - given, 0))
        same = np.array_equal(given[~finite], stored[~finite], equal_nan=True)
        config = self._codec.codec.config if self._codec.codec is not None else {}
        bound = config.get("bound_sigma")
        if bound is not None:
            noise = np.sqrt(
                config.get("gain", 1.0) * np.maximum(np.where(finite, given, 0), 0)
                + config.get("readout_sigma", 0.0) ** 2
            )
            beyond = error > bound * noise
            with np.errstate(divide="ignore", invalid="ignore"):
                sigmas = np.where(error > 0, error / noise, 0)
            self._sigmas = max(self._sigmas, float(sigmas.max(initial=0)))
            self._sigma_squares += float(np.square(sigmas).sum())
            same = same and not beyond.any()
        if not same or not np.isfinite(error).all():
            raise StreamError(
                f"signal {self._name!r}: {self._codec.name} does not keep its bound on these data; nothing was "
                "written, store them without loss"
            )
        self._largest = max(self._largest, float(error.max(initial=0)))
        self._squares += float(np.square(error).sum())
        self._values += int(finite.sum())

    def record(self) -> dict[str, Any]:
        """Return what was lost, for the metadata of the signal."""
        config = dict(self._codec.codec.config) if self._codec.codec is not None else {}
        count = max(self._values, 1)
        entry = {
            "codec": self._codec.name,
            "configuration": config,
            "largest_error": self._largest,
            "rms_error": (self._squares / count) ** 0.5,
        }
        if "bound_sigma" in config:
            entry |= {"largest_error_sigma": self._sigmas, "rms_error_sigma": (self._sigma_squares / count) ** 0.5}
        return entry


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
    if signal.axes[-1].name == "energy" or codec.name == EVENTS or codec.lossy:
        return Plan(codec, shape, tile_shape(shape, dtype.itemsize, SPECTRA_BYTES), dtype)
    return Plan(codec, shape, block_shape(shape, dtype.itemsize), dtype)


def _ratio(signal: Signal, plan: Plan) -> float:
    """Return encoded bytes per raw byte of the block in the middle; infinite where the codec cannot hold it."""
    place = tuple((-(-s // c)) // 2 for s, c in zip(plan.shape, plan.chunks, strict=True))
    block = dense_block(signal.data, plan, place)
    try:
        return sum(map(len, plan.codec.encode(block))) / block.nbytes
    except EsteemError:
        return float("inf")
