"""What a file holds: named signals, the scan that made them, calibrations and where all of it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import EventTable, SparseSI
from esteemcore.io.credits import KEY, Credits

KINDS = ("dense", "packed", "events")


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a signal: coordinate = offset + scale * pixel, or a list of values where the steps differ.

    Attributes
    ----------
    name : str
        ``"frame"`` (frames in visit order, or a series), ``"y"``, ``"x"``, ``"ky"``, ``"kx"``, ``"energy"``, ...
    size : int
        Number of pixels; detector pixels also when they are packed.
    scale, offset : float
        Step and coordinate of pixel 0, in `unit`.
    unit : str
        Unit of the coordinate; empty when it is not calibrated.
    values : tuple of float or None
        Coordinates of all pixels of a non-uniform axis.
    """

    name: str
    size: int
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    values: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checks.integer(f"size of axis {self.name!r}", self.size, minimum=0))
        if self.values is not None:
            object.__setattr__(self, "values", tuple(float(v) for v in self.values))
            if len(self.values) != self.size:
                raise ParameterError(f"axis {self.name!r} has {len(self.values)} values for {self.size} pixels")

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Coordinates of all pixels, in `unit`."""
        if self.values is not None:
            return np.array(self.values, np.float64)
        return self.offset + self.scale * np.arange(self.size, dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Signal:
    """One measured quantity.

    Attributes
    ----------
    data : array-like or SparseSI
        Numpy array or a lazy one with ``shape``, ``dtype``, slicing and ``numpy.asarray`` (stored blocks, dask).
        For ``kind="events"`` a `esteemcore.events.SparseSI` ((frame,) y, x, energy) or, from a container, the
        `esteemcore.io.StoredEvents` that reads one, part by part.
    axes : tuple of Axis
        One per dimension; the last one of packed frames counts detector pixels, so it is longer than the last
        dimension of the data.
    kind : {"dense", "packed", "events"}
        Packed: one-bit frames as `esteemcore.events.pack_bits` makes them.
    frame_shape : tuple of int or None
        ``(ky, kx)`` in detector pixels, for signals that are made of detector frames.
    metadata : dict
        What else is known about this signal.
    """

    data: Any
    axes: tuple[Axis, ...]
    kind: str = "dense"
    frame_shape: tuple[int, int] | None = None
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.choice("kind", self.kind, KINDS)
        object.__setattr__(self, "axes", tuple(self.axes))
        if self.frame_shape is not None:
            object.__setattr__(self, "frame_shape", checks.shape_2d("frame_shape", self.frame_shape))
        if self.kind == "events" and isinstance(self.data, EventTable):
            return
        expected = tuple(axis.size for axis in self.axes)
        if self.kind == "packed":
            if self.frame_shape is None or expected[-2:] != self.frame_shape or self.data.dtype != np.uint8:
                raise ParameterError(
                    f"packed frames need uint8 data and the detector's frame_shape as their last two axes, but the "
                    f"dtype is {self.data.dtype}, frame_shape {self.frame_shape} and the axes have sizes {expected}"
                )
            expected = (*expected[:-1], -(-expected[-1] // 8))
        if not expected or tuple(self.data.shape) != expected:
            raise ParameterError(f"the data have shape {tuple(self.data.shape)}, but their axes say {expected}")

    @property
    def in_visit_order(self) -> bool:
        """True for frames (frame, ky, kx) one after the other as they were taken."""
        return self.frame_shape is not None and len(self.axes) == 3

    @property
    def lazy(self) -> bool:
        """True when the values are read only when they are asked for."""
        return not isinstance(self.data, np.ndarray | SparseSI | EventTable)

    @property
    def nbytes(self) -> int:
        """Bytes of the data as an array in memory; events: of their table, 0 while it is on disk."""
        if isinstance(self.data, SparseSI):
            return self.data.offset.nbytes + self.data.channel.nbytes + self.data.count.nbytes
        if self.kind == "events":
            return 0
        return math.prod(map(int, self.data.shape)) * int(np.dtype(self.data.dtype).itemsize)


@dataclasses.dataclass(frozen=True, eq=False)
class ScanRecord:
    """Where the beam went and when, frame by frame.

    Attributes
    ----------
    shape : tuple of int
        ``(y, x)`` positions.
    index : ndarray of int64, shape (n,), or None
        Flat position ``y * nx + x`` of each frame in visit order; -1 where it is lost. None: raster.
    visit : ndarray of int64, shape (n,), or None
        Pass number of each frame; None: 0.
    positions : ndarray of float64, shape (n, 2), or None
        True (row, column) in scan pixels where it differs from the grid; NaN rows are on the grid.
    time_s : ndarray of float64, shape (n,), or None
        Time of each frame since the start, in s; NaN where it is not known.
    dwell_s, flyback_s : float or None
        Dwell time per position and flyback per line, in s.
    step_nm : float or pair of float or None
        Distance of positions in nm, or (row, column).
    rotation_deg : float or None
        Rotation of the scan in degrees, as the instrument gives it.
    """

    shape: tuple[int, int]
    index: NDArray[np.int64] | None = None
    visit: NDArray[np.int64] | None = None
    positions: NDArray[np.float64] | None = None
    time_s: NDArray[np.float64] | None = None
    dwell_s: float | None = None
    flyback_s: float | None = None
    step_nm: float | tuple[float, float] | None = None
    rotation_deg: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checks.shape_2d("scan shape", self.shape))
        if self.index is not None:
            lost = np.asarray(self.index) == -1
            places = checks.flat_indices("scan index", np.where(lost, 0, self.index), self.shape[0] * self.shape[1])
            object.__setattr__(self, "index", np.where(lost, -1, places))
        for name, unit in (("dwell_s", "s"), ("flyback_s", "s"), ("rotation_deg", "degrees")):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.finite(name, getattr(self, name), unit))
        if self.step_nm is not None:
            if np.shape(self.step_nm) not in ((), (2,)):
                raise ParameterError(f"step_nm is {self.step_nm!r}; expected a number or (row, column) in nm")
            step = tuple(checks.finite("step_nm", step, "nm") for step in np.atleast_1d(self.step_nm).tolist())
            object.__setattr__(self, "step_nm", step if len(step) == 2 else step[0])

    def order(self, n: int) -> NDArray[np.int64]:
        """Return the flat positions of ``n`` frames in visit order; without a stored order raster, again and again."""
        if self.index is None:
            return np.arange(n, dtype=np.int64) % (self.shape[0] * self.shape[1])
        if len(self.index) != n:
            raise ParameterError(f"the scan has {len(self.index)} visits, but there are {n} frames")
        return self.index


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesRecord:
    """What is known of each frame of a series of images and spectrum images.

    Attributes
    ----------
    frames : int
        Number of frames.
    time_s : ndarray of float64, shape (n,), or None
        Time of each frame since the start, in s; NaN where it is not known.
    energy_offset_ev : ndarray of float64, shape (n,), or None
        What must be added to the energy axis of each frame, in eV.
    tilt_deg : ndarray of float64, shape (n, 2), or None
        Tilt (alpha, beta) of the specimen in degrees.
    displacement_px : ndarray of float64, shape (n, 2), or None
        Displacement (dy, dx) in scan pixels as it was known when the frame was taken: its sample (i, j) lies at
        (i + dy, j + dx) of the common grid, as in `esteemcore.register.Alignment`.
    counts : dict of str to ndarray of float64, shape (n,)
        Sum of each frame, by the names of the signals; NaN where it is lost.
    """

    frames: int
    time_s: NDArray[np.float64] | None = None
    energy_offset_ev: NDArray[np.float64] | None = None
    tilt_deg: NDArray[np.float64] | None = None
    displacement_px: NDArray[np.float64] | None = None
    counts: dict[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", checks.integer("frames", self.frames, minimum=0))
        pairs = ("tilt_deg", "displacement_px")
        columns = {name: getattr(self, name) for name in ("time_s", "energy_offset_ev", *pairs)}
        for name, values in {**columns, **{f"counts of {k!r}": v for k, v in self.counts.items()}}.items():
            expected = (self.frames, 2) if name in pairs else (self.frames,)
            if values is not None and np.shape(values) != expected:
                raise ParameterError(f"{name} has shape {np.shape(values)}, but {self.frames} frames need {expected}")

    def __len__(self) -> int:
        return self.frames


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Signals that belong together.

    Attributes
    ----------
    signals : dict of str to Signal
        By name.
    scan : ScanRecord or None
        The scan that the frames in visit order were taken with.
    geometry : dict
        What is known of the parameters of `esteemcore.fourd.Geometry`, by their names.
    metadata : dict
        Instrument, specimen, people, provenance.
    path : str or None
        Where it was read from.
    format : str
        What kind of file that is.
    notes : tuple of str
        What the user should know: left open, damaged, read with an assumption.
    series : SeriesRecord or None
        What is known of each frame, for signals (frame, y, x, ...).
    """

    signals: dict[str, Signal]
    scan: ScanRecord | None = None
    geometry: dict[str, Any] = dataclasses.field(default_factory=dict)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: str | None = None
    format: str = ""
    notes: tuple[str, ...] = ()
    series: SeriesRecord | None = None

    @property
    def credits(self) -> Credits | None:
        """Authors, licence and what else is in ``metadata["credits"]``; None when there are none.

        Raises
        ------
        ParameterError
            If they cannot be right.
        """
        return None if self.metadata.get(KEY) is None else Credits.of(self.metadata[KEY])

    def frames(self, name: str | None = None) -> tuple[str, Signal]:
        """Return the name and the signal of the detector frames.

        Parameters
        ----------
        name : str, optional
            Needed when there is more than one.

        Raises
        ------
        ParameterError
            If there is no such signal, or more than one and no name.
        """
        if name is not None and name not in self.signals:
            raise ParameterError(f"there is no signal {name!r}; there are {', '.join(map(repr, self.signals))}")
        found = [
            key
            for key, signal in self.signals.items()
            if (name is None or key == name)
            and (signal.frame_shape is not None and signal.kind != "events" and len(signal.axes) in (3, 4))
        ]
        if len(found) != 1:
            what = "holds no detector frames" if not found else f"has frames in {', '.join(map(repr, found))}: name one"
            text = f"{self.path or 'this data set'} {what}; its signals: {'; '.join(self._signals())}"
            if not found and any(len(s.axes) in (3, 4) and s.frame_shape is None for s in self.signals.values()):
                text += "; if one is made of frames, save it as io.Signal(data, axes, frame_shape=(rows, columns))"
            raise ParameterError(text)
        return found[0], self.signals[found[0]]

    def reload(self) -> Dataset:
        """Return the data set as it is on disk by now: a series that is being written has more frames.

        This one stays as it is: its frames are never changed by those that come later.

        Raises
        ------
        ParameterError
            If it was not read from a file.
        """
        from esteemcore.io.load import load

        if self.path is None:
            raise ParameterError("this data set is in memory only; save it first, or load one from a file")
        return load(self.path)

    def describe(self) -> list[str]:
        """Return a summary, line by line."""
        lines = [f"{self.path or 'data in memory'}{f' ({self.format})' if self.format else ''}", *self._signals()]
        if self.scan is not None:
            lines.append(_describe_scan(self.scan))
        if self.series is not None:
            lines.append(_describe_series(self.series))
        if self.geometry:
            lines.append("geometry: " + ", ".join(f"{key} = {value}" for key, value in self.geometry.items()))
        try:
            lines += [] if self.credits is None else self.credits.describe()
        except ParameterError as error:
            lines.append(f"credits: {error}")
        for key, value in self.metadata.items():
            if isinstance(value, str | int | float):
                lines.append(f"{key}: {value}")
            elif isinstance(value, Mapping) and key in ("instrument", "specimen", "people"):
                lines.append(f"{key}: " + ", ".join(f"{k} = {v}" for k, v in value.items()))
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def _signals(self) -> list[str]:
        return [f"{name}: {_describe_signal(signal)}" for name, signal in self.signals.items()]


def check_dataset(dataset: Any) -> None:
    """See that what is to be written is a data set, or raise `ParameterError`."""
    if not isinstance(dataset, Dataset):
        raise ParameterError(
            f"dataset is a {type(dataset).__name__}; expected an io.Dataset of signals, each an array with its axes"
        )


def _describe_signal(signal: Signal) -> str:
    axes = " x ".join(
        f"{axis.name} {axis.size:,}" + (f" ({axis.scale:.4g} {axis.unit})" if axis.unit else "") for axis in signal.axes
    )
    if isinstance(signal.data, SparseSI):
        return f"events, {axes}, {signal.data.count.sum(dtype=np.int64):,} counts, {signal.nbytes / 1e6:,.1f} MB"
    if signal.kind == "events":
        return f"events, {axes}{' (read when needed)' if signal.lazy else ''}"
    kind = "one-bit frames" if signal.kind == "packed" else f"{np.dtype(signal.data.dtype).name}"
    return f"{kind}, {axes}, {signal.nbytes / 1e6:,.1f} MB{' (read when needed)' if signal.lazy else ''}"


def _describe_scan(scan: ScanRecord) -> str:
    parts = [f"scan: {scan.shape[0]} x {scan.shape[1]} positions"]
    if scan.index is None:
        parts.append("raster order")
    else:
        visited = len(np.unique(scan.index[scan.index >= 0]))
        parts.append(f"stored order of {len(scan.index):,} visits to {visited:,} positions")
    if scan.visit is not None and scan.visit.size and scan.visit.max() > 0:
        parts.append(f"{int(scan.visit.max()) + 1} passes")
    if scan.positions is not None:
        parts.append("true positions known")
    for value, text in (
        (scan.step_nm, "step {} nm"),
        (scan.dwell_s, "dwell {} s"),
        (scan.flyback_s, "flyback {} s"),
        (scan.rotation_deg, "rotation {} degrees"),
    ):
        if value is not None:
            parts.append(text.format(value if isinstance(value, tuple) else f"{value:.4g}"))
    return ", ".join(parts)


def _describe_series(series: SeriesRecord) -> str:
    parts = [f"series: {series.frames:,} frames"]
    if series.time_s is not None and np.isfinite(series.time_s).any():
        parts.append(f"{np.nanmax(series.time_s) - np.nanmin(series.time_s):.4g} s from the first to the last")
    if series.energy_offset_ev is not None and np.isfinite(series.energy_offset_ev).any():
        low, high = np.nanmin(series.energy_offset_ev), np.nanmax(series.energy_offset_ev)
        parts.append(f"energy offsets {low:.4g} to {high:.4g} eV")
    if series.tilt_deg is not None:
        parts.append("tilts known")
    if series.displacement_px is not None:
        parts.append("displacements known")
    return ", ".join(parts)
