"""Sums of spectra in bounded memory: fine in space and coarse in energy, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import EventTable, SparseSI
from esteemcore.spectral._binning import block_labels
from esteemcore.stream import AdditiveReducer, Chunk, Spec, Sums


class SpectrumSums(AdditiveReducer):
    """Base of reducers of spectra that keep two sums of the counts instead of all.

    ``pixels`` (positions, energy bins) has every position, its channels added up to bins; ``channels`` (blocks, energy)
    has every channel, positions added up to blocks. Both only add, so that neither the order of spectra nor that of
    merges matters, and repeats and gaps are allowed. A frame of the stream is a spectrum: ``(1, energy)``.

    Parameters
    ----------
    n_components : int
    energy_bins : int
        At most so many in ``pixels``.
    blocks : int
        At most about so many in ``channels``.
    """

    def __init__(self, n_components: int, *, energy_bins: int = 64, blocks: int = 1024) -> None:
        self.n_components = checks.integer("n_components", n_components, minimum=1)
        self.energy_bins = checks.integer("energy_bins", energy_bins, minimum=1)
        self.blocks = checks.integer("blocks", blocks, minimum=1)

    def width(self, spec: Spec) -> int:
        """Return the channels of a bin."""
        return -(-math.prod(spec.frame_shape) // self.energy_bins)

    def side(self, spec: Spec) -> int:
        """Return the side of a block in pixels."""
        return max(1, math.ceil(math.sqrt(spec.positions / self.blocks)))

    def labels(self, spec: Spec) -> NDArray[np.int64]:
        """Return the block of each position."""
        return block_labels(np.ones(spec.scan_shape, np.bool_), self.side(spec))[0]

    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return empty sums."""
        channels = math.prod(spec.frame_shape)
        width, number = self.width(spec), int(self.labels(spec).max()) + 1
        if self.n_components > min(spec.positions, -(-channels // width)):
            raise ParameterError(
                f"n_components is {self.n_components}, but {spec.positions} pixels with {-(-channels // width)} bins "
                "of energy have no more than the smaller number"
            )
        dtype = np.float64 if np.dtype(spec.dtype).kind == "f" else np.int64
        return {
            "pixels": np.zeros((spec.positions, -(-channels // width)), dtype),
            "channels": np.zeros((number, channels), dtype),
        }

    def add(self, state: Sums, chunk: Chunk) -> None:
        """Add the spectra of a chunk to both sums."""
        width, label = self.width(state.spec), self.labels(state.spec)[chunk.index]
        events = chunk.electrons(state.spec)
        if events is None and chunk.frames is not None:
            spectra = chunk.frames.reshape(len(chunk), math.prod(state.spec.frame_shape)).astype(state["pixels"].dtype)
            starts = np.arange(0, spectra.shape[1], width)
            np.add.at(state["pixels"], chunk.index, np.add.reduceat(spectra, starts, axis=1))
            np.add.at(state["channels"], label, spectra)
        elif events is not None:
            entry = np.repeat(np.arange(len(chunk)), np.diff(events.offset))
            channel, count = events.pixel.astype(np.int64), events.count.astype(state["pixels"].dtype)
            np.add.at(state["pixels"], (chunk.index[entry], channel // width), count)
            np.add.at(state["channels"], (label[entry], channel), count)

    def by_block(self, spec: Spec, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sums of maps (positions, n) over blocks (blocks, n)."""
        label = self.labels(spec)
        return np.stack([np.bincount(label, column) for column in maps.T], axis=1)


def spectra_chunk(si: Any, shift: ArrayLike = (0.0, 0.0), energy_shift_channels: float = 0.0, visit: int = 0) -> Chunk:
    """Return a frame of a spectrum image as a chunk of spectra, one per position.

    Parameters
    ----------
    si : array_like (y, x, energy) or SparseSI
        Counts.
    shift : (float, float)
        Displacement (dy, dx) of the frame in px; rounded to whole ones, so that every count stays one. What lies
        outside of the image then is left out.
    energy_shift_channels : float
        A count of channel c belongs to channel c + shift; rounded to whole ones.
    visit : int
        Number of the frame.

    Returns
    -------
    Chunk
        Of frames (1, energy); events where `si` is sparse.

    Raises
    ------
    ParameterError
        If the frame is no spectrum image or a shift is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> chunk = spectral.spectra_chunk(np.ones((3, 4, 5), np.uint8), shift=(1, 0))
    >>> len(chunk), chunk.index.min(), chunk.frames.shape
    (8, np.int64(4), (8, 1, 5))
    """
    sparse = isinstance(si, SparseSI)
    data = si if sparse else np.asarray(si)
    shape: Sequence[int] = tuple(data.shape)
    if len(shape) != 3:
        raise ParameterError(f"the frame has shape {shape}; expected (y, x, energy)")
    moved = np.asarray(shift, np.float64)
    if moved.shape != (2,) or not np.isfinite(moved).all():
        raise ParameterError(f"shift is {shift!r}; expected two finite numbers (dy, dx) in px")
    energy = round(checks.finite("energy_shift_channels", energy_shift_channels))
    y, x = (np.arange(n) + round(float(by)) for n, by in zip(shape[:2], moved, strict=True))
    inside = np.logical_and.outer((y >= 0) & (y < shape[0]), (x >= 0) & (x < shape[1])).reshape(-1)
    index = np.add.outer(y * shape[1], x).reshape(-1)[inside].astype(np.int64)
    if sparse:
        channel = si.channel.astype(np.int64) + energy
        entry = np.repeat(np.arange(len(inside)), np.diff(si.offset))
        kept = inside[entry] & (channel >= 0) & (channel < shape[2])
        number = np.bincount(entry[kept], minlength=len(inside))[inside]
        offset = np.concatenate([[0], np.cumsum(number)])
        return Chunk(index, events=EventTable(offset, channel[kept], si.count[kept]), visit=visit)
    frames = np.zeros((len(index), 1, shape[2]), data.dtype)
    source = slice(max(0, -energy), max(0, shape[2] - max(energy, 0)))
    target = slice(max(0, energy), max(0, shape[2] + min(energy, 0)))
    frames[:, 0, target] = data.reshape(-1, shape[2])[inside][:, source]
    return Chunk(index, frames, visit=visit)
