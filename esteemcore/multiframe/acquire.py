"""A series frame by frame: take, store, let go, ask whether it is enough."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore._core.errors import CancelledError, EsteemError, FormatError, ParameterError, StreamError
from esteemcore._core.provenance import Provenance, record
from esteemcore.events import SparseSI
from esteemcore.multiframe.orders import FrameOrder
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.region import Region
from esteemcore.multiframe.session_folder import RegionFolder

VISIT_ORDER = "visit_order"
"""Signal that holds, where it differs from frame to frame, as the how manyth each place was visited."""


@dataclasses.dataclass(frozen=True)
class FrameRequest:
    """What is asked of the microscope.

    Attributes
    ----------
    number : int
        Number of the frame in its region, from 0.
    region : Region
    order : FrameOrder
        How it is to be scanned, sub-pixels included.
    energy_offset_ev : float
        Where the spectrum is to be on its camera, against the first frame.
    folder : Path
        Of the region, for what goes into files of its own.
    """

    number: int
    region: Region
    order: FrameOrder
    energy_offset_ev: float
    folder: Path


@dataclasses.dataclass(frozen=True, eq=False)
class AcquiredFrame:
    """A frame that is safe on disk.

    Attributes
    ----------
    number : int
        Number in its region, from 0; frames of earlier runs count.
    done, planned : int
        Frames of this run so far, this one included, and how many there shall be.
    values : dict of str to ndarray or SparseSI
        As stored: on the grid of the region, sub-pixels added up.
    order : FrameOrder
    region : Region
    time_s : float
        When it was begun, in s since the first frame of this run.
    energy_offset_ev : float
    path : Path
        The container that holds it.
    """

    number: int
    done: int
    planned: int
    values: Mapping[str, Any]
    order: FrameOrder
    region: Region
    time_s: float
    energy_offset_ev: float
    path: Path


Take = Callable[[FrameRequest], Mapping[str, Any]]
"""Acquires a frame: every signal as it was scanned, in the turned frame (`FrameOrder.shape`, ...)."""
OnFrame = Callable[[AcquiredFrame], str | None]
"""Called with each stored frame; returns why the series has enough, in words, or nothing."""


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesResult:
    """How a series has ended.

    Attributes
    ----------
    folder : RegionFolder
    path : Path
        The container that holds the frames of this run.
    first, frames, planned : int
        Number of its first frame in the region, frames that are safe on disk, frames that were planned.
    reason : str
        Why it ended early, in words; empty if it is complete.
    is_failure : bool
        Whether that was an error, not the user's or the condition's wish.
    unsaved : dict or None
        A frame that was acquired and that the disk did not take; see ``rest`` of `acquire_series`.
    notes : tuple of str
        What went wrong beside the data: an ``on_frame`` that raised.
    provenance : Provenance
    """

    folder: RegionFolder
    path: Path
    first: int
    frames: int
    planned: int
    reason: str
    is_failure: bool
    unsaved: Mapping[str, Any] | None
    notes: tuple[str, ...]
    provenance: Provenance

    @property
    def summary(self) -> str:
        """What became of it, in one sentence."""
        place = f"frames {self.first} to {self.first + self.frames - 1} in {self.path}" if self.frames else "none kept"
        count = f"{self.frames:,} of {self.planned:,} frames, {place}"
        notes = "".join(f"; {note}" for note in self.notes)
        if not self.reason:
            return f"Done: {count}{notes}"
        return f"{'Error: ' if self.is_failure else ''}{self.reason}; {count}{notes}"


def acquire_series(
    plan: SeriesPlan,
    folder: RegionFolder,
    take: Take,
    *,
    region: Region | None = None,
    on_frame: OnFrame | None = None,
    cancel: threading.Event | None = None,
    metadata: Mapping[str, Any] | None = None,
    rest: Mapping[str, Any] | None = None,
) -> SeriesResult:
    """Acquire the frames of one area; each is durable on disk, and out of memory, before the next one begins.

    Called again it appends to the same container, closed or left by a process that died; where other signals, dwell
    times or orders are planned, to a new one in the same folder. Whenever the process dies, at most the frame being
    acquired is lost.

    Parameters
    ----------
    plan : SeriesPlan
    folder : RegionFolder
        Where the frames go.
    take : callable
        Acquires a frame, see `Take`. It may raise `CancelledError`.
    region : Region, optional
        One of ``plan.areas``; by default the first.
    on_frame : callable, optional
        Live results, see `OnFrame`. What it raises ends nothing and is noted.
    cancel : threading.Event, optional
        When set, no further frame is begun.
    metadata : mapping, optional
        JSON-ready, stored with the frames: at the first run of a container among its metadata, at later ones beside
        their settings, under ``multiframe.runs``.
    rest : mapping, optional
        `SeriesResult.unsaved` of the run before, which the disk did not take: stored first, beside the planned frames.

    Returns
    -------
    SeriesResult
        Also after an error in ``take`` or of the disk: what was stored before stays.

    Raises
    ------
    ParameterError
        If the folder holds frames of another size or place, or with other signals.
    FormatError
        If the last container of the folder is damaged beyond opening: make a new region.
    StreamError
        If no container can be made.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> region = multiframe.fit_region((3.2, 3.2), 0.1)
    >>> settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=4)
    >>> plan = multiframe.SeriesPlan(region, settings, {"adf": io.SeriesSignal(region.shape, np.float32)})
    >>> folder = multiframe.SessionFolder(tempfile.mkdtemp()).new_region()
    >>> def microscope(request):
    ...     return {"adf": np.full(request.order.shape, request.number, np.float32)}
    >>> result = multiframe.acquire_series(
    ...     plan, folder, microscope, on_frame=lambda frame: "sharp enough" if frame.done == 2 else None
    ... )
    >>> result.frames, result.reason, folder.count
    (2, 'sharp enough', 2)
    """
    area = plan.region if region is None else region
    writer, first, earlier = _open(plan, folder, area, metadata or {})
    frames, reason, is_failure, unsaved, notes = 0, "", False, None, list[str]()
    planned, began = plan.settings.frames, time.monotonic()
    try:
        if rest is not None:
            unsaved = rest
            writer.append(rest)
            unsaved, first = None, first + 1
        while frames < planned and not reason:
            if cancel is not None and cancel.is_set():
                raise CancelledError("Stopped by the user")
            number = first + frames
            order = plan.order(number)
            offset = number * plan.settings.energy_step_ev
            begun = time.monotonic() - began
            taken = take(FrameRequest(number, area, order, offset, folder.path))
            values = _upright(taken, plan, order)
            unsaved = _with_order(values, plan, order)
            known = offset if plan.settings.energy_step_ev else None
            writer.append(unsaved, time_s=earlier + begun, energy_offset_ev=known)
            unsaved = None
            frames += 1
            if on_frame is not None:
                frame = AcquiredFrame(number, frames, planned, values, order, area, begun, offset, writer.path)
                reason = _asked(on_frame, frame, notes)
                del frame
            del taken, values  # one frame in memory at a time
    except CancelledError as error:
        reason = str(error)
    except Exception as error:
        reason, is_failure = _words(error), True
    finally:
        try:
            writer.close()
        except StreamError as error:
            notes.append(str(error))
    made = record("multiframe.acquire_series", {**plan.record(), "first": first, "frames": frames})
    return SeriesResult(folder, writer.path, first, frames, planned, reason, is_failure, unsaved, tuple(notes), made)


def _open(
    plan: SeriesPlan, folder: RegionFolder, area: Region, metadata: Mapping[str, Any]
) -> tuple[io.SeriesWriter, int, float]:
    """Return what takes the frames, the number of the first one, and the time since the first one in its container."""
    if not plan.signals:
        raise ParameterError("nothing is to be recorded; choose at least one signal")
    _check_same(plan, folder, area)
    first, path = folder.next_part()
    settings = plan.settings
    signals = dict(plan.signals)
    scan = io.ScanRecord(
        area.shape,
        index=plan.order(0).visits.order if settings.order == "serpentine" and settings.subpixels == 1 else None,
        dwell_s=settings.dwell_s,
        flyback_s=settings.flyback_s,
        step_nm=area.pixel_size_nm,
        rotation_deg=area.rotation_deg,
    )
    if _is_order_stored(plan):
        signals[VISIT_ORDER] = io.SeriesSignal(plan.scan_shape, np.uint32)
    began = time.time()
    entry = {**plan.record(), "first_frame": first, "center_nm": list(area.center_nm), "began_unix_s": began}
    for _, last in folder.parts[-1:]:
        with contextlib.suppress(ParameterError, FormatError):  # other frames, or damaged: they begin a new container
            stored, earlier = _run_after(io.load(last), entry, metadata)
            return io.SeriesWriter(last, signals, scan=scan, metadata=stored, append=True), first, earlier
    stored = {**metadata, "multiframe": {**entry, "runs": [entry]}}
    return io.SeriesWriter(path, signals, scan=scan, metadata=stored, overwrite=path.exists()), first, 0.0


def _run_after(
    before: io.Dataset, entry: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Return the metadata of a container with one more run, and its time since the first frame there, in s."""
    there = dict(before.metadata.get("multiframe") or entry)
    runs = list(there.get("runs") or ([{k: v for k, v in there.items() if k != "runs"}] if before.series else []))
    times = None if before.series is None else before.series.time_s
    known = [] if times is None else [float(t) for t in times if math.isfinite(t)]
    since = float(entry["began_unix_s"]) - float(there.get("began_unix_s", math.inf))
    earlier = max([since, *known[-1:], 0.0])  # a clock that was set back does not bring frames out of order
    run = {**entry, "metadata": dict(metadata)}
    return {**metadata, **_given(before), "multiframe": {**there, "runs": [*runs, run]}}, earlier


def _given(before: io.Dataset) -> dict[str, Any]:
    return {name: value for name, value in before.metadata.items() if name not in ("created", "provenance")}


def _check_same(plan: SeriesPlan, folder: RegionFolder, area: Region) -> None:
    """Refuse to mix what cannot be added up; a place that drift has moved is the same."""
    for _, dataset in folder.datasets():
        before = dataset.metadata.get("multiframe", {})
        pixel = before.get("region", {}).get("pixel_size_nm", area.pixel_size_nm)
        if not math.isclose(pixel, area.pixel_size_nm, rel_tol=1e-6):
            raise ParameterError(
                f"{folder.path.name} has pixels of {pixel:.6g} nm, but {area.pixel_size_nm:.6g} nm are planned; make a "
                "new region, or plan as before"
            )
        distance = math.dist(before.get("center_nm", area.center_nm), area.center_nm)
        if distance > min(area.fov_nm) / 2:
            raise ParameterError(
                f"{folder.path.name} is {distance:.4g} nm away from the region that is planned; make a new region"
            )
        for name, signal in plan.signals.items():
            if name not in dataset.signals:
                raise ParameterError(
                    f"{folder.path.name} has frames without {name!r}; record the same signals, or make a new region"
                )
            there = tuple(dataset.signals[name].data.shape[1:])
            if there != tuple(signal.shape):
                raise ParameterError(
                    f"{folder.path.name} has frames of {' x '.join(map(str, there))} in {name!r}, but "
                    f"{' x '.join(map(str, signal.shape))} are planned; make a new region, or plan as before"
                )
        return


def _is_order_stored(plan: SeriesPlan) -> bool:
    return plan.settings.order in ("turned raster", "shuffled") or (
        plan.settings.order == "serpentine" and plan.settings.subpixels > 1
    )


def _with_order(values: Mapping[str, Any], plan: SeriesPlan, order: FrameOrder) -> dict[str, Any]:
    if not _is_order_stored(plan):
        return dict(values)
    visits = order.visits
    rank = np.empty(len(visits), np.uint32)
    rank[visits.order] = np.arange(len(visits), dtype=np.uint32)
    return {**values, VISIT_ORDER: rank.reshape(visits.shape)}


def _upright(taken: Mapping[str, Any], plan: SeriesPlan, order: FrameOrder) -> dict[str, Any]:
    """Put what was scanned onto the grid of the region, sub-pixels added up."""
    if set(taken) != set(plan.signals):
        lacking = ", ".join(sorted(set(plan.signals) - set(taken))) or "nothing"
        raise StreamError(f"the frame has {', '.join(sorted(taken)) or 'no signal'}; {lacking} did not come")
    n, values = plan.settings.subpixels, dict[str, Any]()
    for name, value in taken.items():
        if isinstance(value, SparseSI):
            if n > 1 or order.quarter_turns:
                raise ParameterError(f"{name} comes as events: scan it without sub-pixels and without turns")
            values[name] = value
            continue
        array = np.asarray(value)
        if array.shape[:2] != order.shape:
            raise StreamError(
                f"the frame of {name} has {' x '.join(map(str, array.shape[:2]))} places, but "
                f"{' x '.join(map(str, order.shape))} were scanned; it is not stored"
            )
        values[name] = sum_subpixels(order.upright(array), n, plan.signals[name].dtype)
    return values


def sum_subpixels(image: NDArray[Any], n: int, dtype: Any) -> NDArray[Any]:
    """Return the sums over n x n places.

    Parameters
    ----------
    image : ndarray, shape (y * n, x * n, ...)
    n : int
    dtype : dtype
        Of the sums.
    """
    if n == 1:
        return image.astype(dtype, copy=False)
    rows, columns = image.shape[0] // n, image.shape[1] // n
    parts = image.reshape(rows, n, columns, n, *image.shape[2:])
    return np.asarray(parts.sum(axis=(1, 3), dtype=dtype))


def _asked(on_frame: OnFrame, frame: AcquiredFrame, notes: list[str]) -> str:
    """Return why the series has enough; a failure of who is asked ends nothing."""
    try:
        answer = on_frame(frame)
    except Exception as error:
        note = f"live results failed ({_words(error)})"
        if note not in notes:
            notes.append(note)
        return ""
    return answer if isinstance(answer, str) else ""


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, EsteemError) and str(error) else f"{type(error).__name__}: {error}"
