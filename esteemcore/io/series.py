"""Series of images and spectrum images to disk, frame by frame: what is committed survives a crash or a full disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore.events import SparseSI
from esteemcore.io import choose_codec, container, durable, resume_series
from esteemcore.io.chunk_codecs import LOSSLESS, ZSTD
from esteemcore.io.dataset import Axis, ScanRecord, Signal
from esteemcore.io.series_files import Layer, SeriesFiles
from esteemcore.io.stored import StoredArray
from esteemcore.io.stored_events import StoredEvents
from esteemcore.io.writing import OpenContainer

_LARGEST_COUNT = 2**32 - 1
"""Largest count that the codec of events holds."""

_NAMES = {1: ("energy",), 2: ("y", "x"), 3: ("y", "x", "energy"), 4: ("y", "x", "ky", "kx")}


@dataclasses.dataclass(frozen=True)
class SeriesSignal:
    """What one signal of a series will be, frame after frame.

    Parameters
    ----------
    shape : sequence of int
        Shape of one frame: ``(y, x)``, ``(y, x, energy)``, ...
    dtype : dtype
        Numbers or booleans.
    axes : sequence of Axis, optional
        Axes of one frame. Default: named by their number, without units.
    kind : {"dense", "events"}
        Events: counts (y, x, energy) that are mostly zero, stored by their events.
    codec : str, mapping or codec, optional
        See `esteemcore.io.save`. Default: events as events, spectra by ``"esteem.lossless"``, images by ``"zstd"``.
    metadata : mapping
        What else is known.
    """

    shape: Sequence[int]
    dtype: Any
    axes: Sequence[Axis] | None = None
    kind: str = "dense"
    codec: Any = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def layer(self, name: str) -> Layer:
        """Return how the signal is stored, checked."""
        container.check_name(name)
        checks.choice(f"kind of signal {name!r}", self.kind, ("dense", "events"))
        try:
            shape = tuple(checks.integer(f"shape of signal {name!r}", n, minimum=1) for n in self.shape)
            dtype = np.dtype(self.dtype).newbyteorder("=")
        except TypeError as error:
            raise ParameterError(
                f"signal {name!r} has shape {self.shape!r} and dtype {self.dtype!r}: {error}"
            ) from None
        if self.kind == "events" and (len(shape) != 3 or dtype.kind not in "iu"):
            raise ParameterError(
                f"signal {name!r}: events are whole counts (y, x, energy), not {dtype} of shape {shape}"
            )
        if self.axes is not None:
            axes = tuple(self.axes)
        elif len(shape) in _NAMES:
            axes = tuple(Axis(n, size) for n, size in zip(_NAMES[len(shape)], shape, strict=True))
        else:
            raise ParameterError(f"signal {name!r} has shape {shape}; name its axes")
        stored = StoredEvents if self.kind == "events" else StoredArray
        data = stored(Path(), name, "frames", (1, *shape), (1, *shape), dtype)
        frame_shape = (shape[-2], shape[-1]) if [a.name for a in axes[-2:]] == ["ky", "kx"] else None
        signal = Signal(data, (Axis("frame", 1), *axes), self.kind, frame_shape, dict(self.metadata))
        spec = self.codec
        if spec is None and self.kind == "dense":
            spectra = axes[-1].name == "energy" and dtype.kind in "iuf"
            spec = LOSSLESS if spectra else ZSTD
        plan = choose_codec.plan(name, signal, spec)
        return Layer(name, signal, dataclasses.replace(plan, chunks=(1, *plan.chunks[1:])))


class SeriesWriter(OpenContainer):
    """A container that takes a series of several signals frame by frame, each frame durable when `append` returns.

    The blocks of all signals of a frame are written under temporary names, made durable and renamed; what is known of
    the frame follows; only then each signal is made one frame longer. A frame counts when all signals have it, so that
    readers see whole frames only, whenever the process dies.

    Parameters
    ----------
    path : str or Path
        Folder to make, ``*.esteem`` or ``*.zarr``.
    signals : mapping of str to SeriesSignal
        What will come with each frame. May be left out where frames are appended to a series that is there.
    scan : ScanRecord, optional
        Where the beam goes within each frame, step, dwell and flyback times.
    geometry : mapping or dataclass, optional
        What is known of `esteemcore.fourd.Geometry`.
    metadata : mapping, optional
        Instrument, specimen, ...; ``"credits"`` for `esteemcore.io.Credits`.
    overwrite : bool
        Replace a container that is there already.
    append : bool
        Continue the series that is there, closed or left by a process that died; if nothing is there, begin one. Its
        signals, scan, codecs and axes stay as they are, and what is given here must agree with them; entries of the
        geometry and of the metadata are added or replaced. Only one process may write to a container at a time.

    Raises
    ------
    ParameterError
        If the name cannot be used, a signal cannot be stored, or what is there is no series of such frames; then
        nothing is changed.
    FormatError
        If what is there to be continued is damaged where frames would be added; nothing is changed.
    StreamError
        If the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io
    >>> signals = {"adf": io.SeriesSignal((8, 8), np.float32), "eds": io.SeriesSignal((8, 8, 64), "u2", kind="events")}
    >>> path = tempfile.mkdtemp() + "/series.esteem"
    >>> counts = np.random.default_rng(0).poisson(0.01, (8, 8, 64)).astype("u2")
    >>> with io.SeriesWriter(path, signals) as writer:
    ...     writer.append({"adf": np.ones((8, 8), np.float32), "eds": counts}, time_s=0.0)
    ...     writer.append({"adf": np.ones((8, 8), np.float32), "eds": counts}, time_s=1.5)
    >>> series = io.load(path)
    >>> bool((series.signals["eds"].data.frame(1).to_dense() == counts).all()), series.series.time_s
    (True, array([0. , 1.5]))
    >>> with io.SeriesWriter(path, append=True) as writer:
    ...     writer.append({"adf": np.zeros((8, 8), np.float32), "eds": counts}, time_s=3.0)
    >>> len(series.series), len(series.reload().series)
    (2, 3)
    """

    _files: SeriesFiles

    def __init__(
        self,
        path: str | Path,
        signals: Mapping[str, SeriesSignal] | None = None,
        *,
        scan: ScanRecord | None = None,
        geometry: Any = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        append: bool = False,
    ) -> None:
        super().__init__()
        self.path = container.check_path(path)
        if overwrite and append:
            raise ParameterError("overwrite and append are both asked for; choose one")
        continued = append and self.path.exists()
        if (signals is not None or not continued) and not self._are_signals(signals):
            raise ParameterError(f"signals are {signals!r}; expected io.SeriesSignal by name")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise ParameterError(f"metadata are {metadata!r}; expected entries by name")
        entries = container.geometry_entries(geometry), metadata or {}
        given = {name: signal.layer(name) for name, signal in (signals or {}).items()}
        if not continued:
            self._layers = given
            self._files = SeriesFiles(self.path, list(given.values()), scan, *entries)
            self._files.create(overwrite)
            return
        exact = {name for name, signal in (signals or {}).items() if signal.codec is not None}
        axes = {name for name, signal in (signals or {}).items() if signal.axes is not None}
        found = resume_series.find(self.path)
        self._layers = resume_series.agreed(found, given if signals else None, scan, exact=exact, axes=axes)
        self._files = SeriesFiles(self.path, list(self._layers.values()), found.dataset.scan, *entries)
        self._committed = len(found)
        try:
            self._files.resume(found)
        except OSError as error:
            raise self._failure(error) from error

    @staticmethod
    def _are_signals(signals: Any) -> bool:
        if not isinstance(signals, Mapping) or not signals:
            return False
        return all(isinstance(signal, SeriesSignal) for signal in signals.values())

    def append(
        self,
        frame: Mapping[str, Any],
        *,
        time_s: float | None = None,
        energy_offset_ev: float | None = None,
        tilt_deg: Sequence[float] | None = None,
        displacement_px: Sequence[float] | None = None,
    ) -> None:
        """Take one frame over; it is durable when this returns.

        Parameters
        ----------
        frame : mapping of str to array_like or SparseSI
            One frame of every signal. For events, a `SparseSI` or an array of counts.
        time_s : float, optional
            Time since the start in s.
        energy_offset_ev : float, optional
            What must be added to the energy axis of this frame, in eV.
        tilt_deg : (float, float), optional
            Tilt (alpha, beta) of the specimen in degrees.
        displacement_px : (float, float), optional
            Displacement (dy, dx) in scan pixels: sample (i, j) lies at (i + dy, j + dx) of the common grid.

        Raises
        ------
        ParameterError
            If the frame does not fit what was announced; it is not taken.
        StreamError
            If the disk is full or refuses. The frame is not taken, those before stay whole, and the same frame can be
            appended again once there is room.
        """
        values = self.check(frame)
        row = self.row(time_s, energy_offset_ev, tilt_deg, displacement_px)
        row["counts"] = [_total(values[name]) for name in self._layers]
        with self._busy:
            self._check_open()
            try:
                self._files.write_frame(self._committed, values, row)
            except OSError as error:
                raise self._failure(error) from error
            self._committed += 1

    def check(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a frame in the dtypes that were announced; events that came dense stay so.

        Raises
        ------
        ParameterError
            If they do not fit what was announced.
        """
        if not isinstance(frame, Mapping) or set(frame) != set(self._layers):
            given = ", ".join(map(repr, frame)) if isinstance(frame, Mapping) else repr(frame)
            raise ParameterError(f"the frame holds {given}; expected {', '.join(map(repr, self._layers))}")
        values: dict[str, Any] = {}
        for name, layer in self._layers.items():
            value, plan = frame[name], layer.plan
            sparse = layer.signal.kind == "events"
            if not isinstance(value, SparseSI):
                value = np.asarray(value)
            elif not sparse:
                raise ParameterError(
                    f"signal {name!r} was announced as dense, but is a SparseSI; announce kind='events'"
                )
            if tuple(value.shape) != plan.shape[1:] or not np.can_cast(value.dtype, plan.dtype, "safe"):
                raise ParameterError(
                    f"signal {name!r} has shape {tuple(value.shape)} and dtype {value.dtype}, but {plan.shape[1:]} and "
                    f"{plan.dtype} were announced"
                )
            if isinstance(value, SparseSI):
                value = dataclasses.replace(value, dtype=plan.dtype) if value.dtype != plan.dtype else value
            else:
                value = value.astype(plan.dtype, copy=False)
            if sparse and (plan.dtype.kind == "i" or plan.dtype.itemsize > 4):
                counts = value.count if isinstance(value, SparseSI) else value
                low, high = int(counts.min(initial=0)), int(counts.max(initial=0))
                if low < 0 or high > _LARGEST_COUNT:
                    raise ParameterError(
                        f"signal {name!r} has counts of {low} to {high}; expected 0 to {_LARGEST_COUNT}"
                    )
            values[name] = value
        return values

    @staticmethod
    def row(
        time_s: float | None = None,
        energy_offset_ev: float | None = None,
        tilt_deg: Sequence[float] | None = None,
        displacement_px: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """Return what is known of a frame, checked; raises ParameterError."""
        row: dict[str, Any] = {}
        if time_s is not None:
            row["time_s"] = checks.finite("time_s", time_s, "s")
        if energy_offset_ev is not None:
            row["energy_offset_ev"] = checks.finite("energy_offset_ev", energy_offset_ev, "eV")
        for name, pair, unit, words in (
            ("tilt_deg", tilt_deg, "degrees", "(alpha, beta) in degrees"),
            ("displacement_px", displacement_px, "pixels", "(dy, dx) in scan pixels"),
        ):
            if pair is not None:
                if np.shape(pair) != (2,):
                    raise ParameterError(f"{name} is {pair!r}; expected {words}")
                row[name] = [checks.finite(name, value, unit) for value in pair]
        return row

    def _failure(self, error: OSError) -> StreamError:
        return StreamError(
            f"{durable.reason(error)}: {self._committed:,} frames are safe in {self.path}; free space and try again, "
            "or choose another folder"
        )


def _total(values: Any) -> float:
    """Return the sum of a frame."""
    if isinstance(values, SparseSI):
        return float(values.count.sum(dtype=np.int64))
    if values.dtype.kind == "c":
        return float("nan")
    return float(values.sum(dtype=np.float64))
