"""The spectrum image in a file: which signal, in memory as its counts allow, with energies in eV and pixels in nm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.errors import CalibrationError, FormatError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.io import sparse_tiles

PIECE_BYTES = 2**26
"""What is read at a time."""

LARGEST_BYTES = 2**31
"""Dense images of more than this stay in their file and are read block by block."""

MOST_FILLED = 0.1
"""Counts of which a larger part than this is above zero are kept as a dense array."""

_NM = {"m": 1e9, "mm": 1e6, "µm": 1e3, "μm": 1e3, "um": 1e3, "nm": 1.0, "Å": 0.1, "A": 0.1, "pm": 1e-3}
_EV = {"eV": 1.0, "keV": 1e3}


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumImage:
    """A spectrum image and its calibrations.

    Attributes
    ----------
    name : str
        Of the signal.
    data : ndarray, lazy array or SparseSI, shape (y, x, energy)
    axes : tuple of Axis
        Of the places and of the energy, as the file has them.
    energy : ndarray of float64, shape (energy,)
        Energy of each channel in eV; channel numbers where the file does not know it.
    energy_unit : str
        ``"eV"``, another unit of the file, or ``"channel"``.
    pixel_nm : (float, float) or None
        Height and width of a pixel.
    value_unit : str
        Of the values; empty where the file does not know it.
    """

    name: str
    data: Any
    axes: tuple[io.Axis, ...]
    energy: NDArray[np.float64]
    energy_unit: str
    pixel_nm: tuple[float, float] | None
    value_unit: str = ""

    @property
    def energy_axis(self) -> io.Axis:
        """The energy axis of results: in eV, where it is known."""
        axis, factor = self.axes[-1], _EV.get(self.axes[-1].unit, 1.0)
        values = None if axis.values is None else tuple(factor * value for value in axis.values)
        unit = "" if self.energy_unit == "channel" else self.energy_unit
        return io.Axis("energy", axis.size, factor * axis.scale, factor * axis.offset, unit, values)

    def energies_ev(self) -> NDArray[np.float64]:
        """Return the energies, if they are in eV."""
        if self.energy_unit != "eV":
            raise CalibrationError(
                f"the spectra of {self.name!r} have an axis in {self.energy_unit}; maps need energies in eV: give "
                "--energy OFFSET DISPERSION"
            )
        return self.energy


def open_spectra(path: Path, signal: str | None = None, energy_ev: Sequence[float] | None = None) -> SpectrumImage:
    """Open the spectrum image of a file.

    Parameters
    ----------
    path : Path
        Any file that `esteemcore.io.load` opens.
    signal : str, optional
        Which; by default the only one (y, x, energy).
    energy_ev : (float, float), optional
        Energy of channel 0 and step in eV, above zero, instead of those of the file.

    Raises
    ------
    ParameterError
        If there is none, or several and none is named.
    """
    if energy_ev is not None and not energy_ev[1] > 0:
        raise CalibrationError(f"the dispersion is {energy_ev[1]:g} eV per channel; expected more than zero")
    dataset = io.load(path)
    name = _chosen(dataset, path, signal)
    found = dataset.signals[name]
    axes = found.axes
    if energy_ev is not None:
        axes = (*axes[:-1], io.Axis("energy", axes[-1].size, energy_ev[1], energy_ev[0], "eV"))
    axis = axes[-1]
    unit = "eV" if axis.unit in _EV else axis.unit or "channel"
    try:
        data = in_memory(found)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, ParameterError):
            raise
        raise FormatError(f"{path}: {name} cannot be read ({type(error).__name__}: {error})") from error
    known = found.metadata.get("unit")
    values = known if isinstance(known, str) else ""
    return SpectrumImage(name, data, axes, axis.coordinates * _EV.get(axis.unit, 1.0), unit, pixel_nm(axes), values)


def pixel_nm(axes: Sequence[io.Axis]) -> tuple[float, float] | None:
    """Return height and width of a pixel, None where the axes of the places have no length."""
    if not all(side.unit in _NM and side.scale > 0 for side in axes[:2]):
        return None
    return axes[0].scale * _NM[axes[0].unit], axes[1].scale * _NM[axes[1].unit]


def open_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where a mask takes part: an array of ``numpy.save``, or the only image (y, x) of this shape in a file."""
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path)
        except ValueError as error:
            raise FormatError(f"{path} is no array: {error}") from error
        if values.shape != shape:
            raise ParameterError(f"the mask in {path} has shape {values.shape}; expected {shape}")
        return takes_part(values)
    signals = io.load(path).signals
    fitting = [name for name, found in signals.items() if tuple(axis.size for axis in found.axes) == shape]
    if len(fitting) != 1:
        words = ", ".join(f"{name!r} {tuple(axis.size for axis in found.axes)}" for name, found in signals.items())
        raise ParameterError(f"{path} holds {words}; expected one image of shape {shape}, zero where to leave out")
    return takes_part(np.asarray(signals[fitting[0]].data))


def takes_part(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the values of a mask are neither zero nor NaN, which maps are where nothing was measured."""
    return np.asarray((values != 0) & ~np.isnan(values))


def in_memory(signal: io.Signal) -> Any:
    """Return a spectrum image as a sparse one where it is counts and mostly empty, else dense, else lazy as it is."""
    data = signal.data
    if signal.kind == "events":
        return data if isinstance(data, SparseSI) else data.load()
    if np.dtype(data.dtype).kind in "ui":
        sparse = _sparse(data)
        if sparse is not None:
            return sparse
    return np.asarray(data) if signal.nbytes <= LARGEST_BYTES else data


def counts_of_pixels(data: Any) -> NDArray[np.float64]:
    """Return the sum of each spectrum, shape (y, x)."""
    if isinstance(data, SparseSI):
        rows = np.repeat(np.arange(len(data.offset) - 1), np.diff(data.offset))
        counts = np.bincount(rows, data.count, len(data.offset) - 1)
        return counts.astype(np.float64).reshape(data.shape[:2])
    return np.concatenate([piece.sum(axis=-1, dtype=np.float64) for _, piece in _pieces(data)])


def _sparse(data: Any) -> SparseSI | None:
    """Return counts as a sparse image, None where too much is filled or below zero."""
    tiles, filled, seen = [], 0, 0
    for rows, piece in _pieces(data):
        if piece.min(initial=0) < 0:
            return None
        filled, seen = filled + int(np.count_nonzero(piece)), seen + piece.size
        if filled > MOST_FILLED * seen:
            return None
        tiles.append(((rows, slice(0, piece.shape[1])), SparseSI.from_dense(piece)))
    return sparse_tiles.join(tuple(data.shape), np.dtype(data.dtype), tiles)


def _pieces(data: Any) -> Iterator[tuple[slice, NDArray[Any]]]:
    row = math.prod(data.shape[1:]) * np.dtype(data.dtype).itemsize
    step = max(1, PIECE_BYTES // max(row, 1))
    for first in range(0, data.shape[0], step):
        rows = slice(first, min(first + step, data.shape[0]))
        yield rows, np.asarray(data[rows])


def _chosen(dataset: io.Dataset, path: Path, signal: str | None) -> str:
    """Return the name of the spectrum image."""
    if signal is not None:
        if signal not in dataset.signals:
            raise ParameterError(f"no signal {signal!r}; there are {', '.join(map(repr, dataset.signals))}")
        if not _is_image(dataset.signals[signal]):
            sizes = tuple(axis.size for axis in dataset.signals[signal].axes)
            raise ParameterError(
                f"{signal!r} has shape {sizes}; expected spectra (y, x, energy). The frames of a series are added up "
                "by esteem multiframe"
            )
        return signal
    images = [name for name, found in dataset.signals.items() if _is_image(found)]
    if not images:
        words = ", ".join(f"{n!r} {tuple(axis.size for axis in s.axes)}" for n, s in dataset.signals.items())
        raise ParameterError(
            f"{path} holds no spectrum image (y, x, energy), but {words or 'no signals'}. The frames of a series are "
            "added up by esteem multiframe"
        )
    if len(images) > 1:
        raise ParameterError(f"{path} holds several spectrum images: {', '.join(images)}; choose one with --signal")
    return images[0]


def _is_image(signal: io.Signal) -> bool:
    kinds = signal.kind in ("dense", "events") and signal.frame_shape is None and hasattr(signal.data, "dtype")
    named = signal.kind == "events" or signal.axes[-1].name == "energy" or signal.axes[-1].unit in _EV
    return kinds and named and len(signal.axes) == 3 and signal.axes[0].name != "frame"
