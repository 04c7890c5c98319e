"""A series frame by frame: take, store, let go, ask whether it is enough."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io
from esteemcore._core.errors import CancelledError, EsteemError, FormatError, ParameterError, StreamError
from esteemcore._core.provenance import Provenance, record
from esteemcore.multiframe.frame_values import VISIT_ORDER, UnsavedFrame, is_order_stored, upright, with_order
from esteemcore.multiframe.orders import FrameOrder
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.region import Region
from esteemcore.multiframe.session_folder import RegionFolder


@dataclasses.dataclass(frozen=True)
class FrameRequest:
    """What is asked of the microscope.

    Attributes
    ----------
    number : int
        Number of the frame in its region, from 0.
    region : Region
        Where, moved along with the specimen if the series is told where to go.
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
        The area of the series, from where `displacement_px` counts.
    time_s : float
        When it was begun, in s since the first frame of this run.
    energy_offset_ev : float
    path : Path
        The container that holds it.
    displacement_px : (float, float)
        By how much the scan was moved on purpose, rows and columns in px.
    write_s : float
        What the disk took for it, in s.
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
    displacement_px: tuple[float, float] = (0.0, 0.0)
    write_s: float = 0.0


Take = Callable[[FrameRequest], Mapping[str, Any]]
"""Acquires a frame: every signal as it was scanned, in the turned frame (`FrameOrder.shape`, ...)."""
OnFrame = Callable[[AcquiredFrame], str | None]
"""Called with each stored frame; returns why the series has enough, in words, or nothing."""
Where = Callable[[], Sequence[float]]
"""Called before each frame; returns by how much it shall be moved, rows and columns of the region in nm."""


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
    unsaved : UnsavedFrame or None
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
    unsaved: UnsavedFrame | None
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
    where: Where | None = None,
    cancel: threading.Event | None = None,
    metadata: Mapping[str, Any] | None = None,
    rest: UnsavedFrame | None = None,
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
    where : callable, optional
        See `Where` and `DriftCompensation`; the displacement is stored with the frame as ``displacement_px``.
    cancel : threading.Event, optional
        When set, no further frame is begun.
    metadata : mapping, optional
        JSON-ready, stored with the frames: at the first run of a container among its metadata, at later ones beside
        their settings, under ``multiframe.runs``.
    rest : UnsavedFrame, optional
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
    frames, reason, is_failure, notes = 0, "", False, list[str]()
    unsaved = rest
    planned, began = plan.settings.frames, time.monotonic()
    try:
        if rest is not None:
            rest.append_to(writer)
            unsaved, first = None, first + 1
        while frames < planned and not reason:
            if cancel is not None and cancel.is_set():
                raise CancelledError("Stopped by the user")
            number = first + frames
            order = plan.order(number)
            offset = number * plan.settings.energy_step_ev
            moved = None if where is None else _moved(where, area)
            place = area if moved is None else area.moved([side * area.pixel_size_nm for side in moved])
            begun = time.monotonic() - began
            taken = take(FrameRequest(number, place, order, offset, folder.path))
            values = upright(taken, plan, order)
            known = offset if plan.settings.energy_step_ev else None
            unsaved = UnsavedFrame(with_order(values, plan, order), earlier + begun, known, moved)
            writing = time.monotonic()
            unsaved.append_to(writer)
            unsaved = None
            frames += 1
            if on_frame is not None:
                frame = AcquiredFrame(
                    number, frames, planned, values, order, area, begun, offset, writer.path,
                    moved or (0.0, 0.0), time.monotonic() - writing,
                )  # fmt: skip
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
    if is_order_stored(plan):
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


def _moved(where: Where, area: Region) -> tuple[float, float]:
    """Return by how much a frame is to be moved, in px."""
    down, right = (float(value) / area.pixel_size_nm for value in where())
    if not (math.isfinite(down) and math.isfinite(right)):
        raise ParameterError(f"the next frame was to be moved by ({down:g}, {right:g}) px, which is nowhere")
    return down, right


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
