"""A live run: frames from the microscope or from a file, to a raw file and to the images that form."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from esteem_sim import ScanPlan

from esteemcore import fourd, io, stream
from esteemcore.errors import CalibrationError, CancelledError, EsteemError, ReducerError, StreamError
from nionswift_plugin.esteem_scan.acquisition_lock import Ticket, acquiring
from nionswift_plugin.esteem_scan.frame_sink import FrameSink
from nionswift_plugin.esteem_scan.plan import Plan

PUBLISH_S = 0.14
"""Shortest time between two sets of images, in s."""
READ_AHEAD_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class View:
    """What can be changed after the frames are taken.

    Attributes
    ----------
    geometry : Geometry
        Rotation and aberrations act at once, on the same counts.
    regularization : float
        Of the phase.
    """

    geometry: fourd.Geometry
    regularization: float = 0.03


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """A set of images.

    Attributes
    ----------
    images : dict of str to LiveImage
    results : dict
        What they were made from, by the names of `esteemcore.fourd.live_reducers`.
    view : View
    status : LiveStatus
    """

    images: dict[str, fourd.LiveImage]
    results: dict[str, Any]
    view: View
    status: stream.LiveStatus

    def provenance(self, name: str) -> dict[str, Any]:
        """Return where an image comes from."""
        reducer = {"bf": "detectors", "adf": "detectors", "icom": "com", "sum": "statistics"}.get(name, name)
        record: dict[str, Any] = self.results[reducer].provenance.as_dict()
        return record

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the phase."""
        return tuple(self.results["ssb"].notes) if "ssb" in self.results else ()


class Watcher(Protocol):
    """Who looks on; called from threads of the run."""

    def updated(self, update: Update) -> None:
        """Take a set of images."""

    def said(self, message: str) -> None:
        """Take a message in words."""

    def ended(self, message: str) -> None:
        """Take the last message; the run is over."""


class LiveSession:
    """What acquisitions and files have in common.

    Parameters
    ----------
    view : View
        Semi-angle, pixel size and centre are fixed for the run; the rest is where it starts.
    watcher : Watcher
    title : str
        Name of the run, for metadata.
    base : Geometry
        The calibrations of the instrument or the file, before the user has typed over them.
    """

    def __init__(self, view: View, watcher: Watcher, title: str, base: fourd.Geometry) -> None:
        self.title = title
        self.base = base
        self.total = 0
        self.path: Path | None = None
        self.metadata: dict[str, Any] = {}
        self.runner: stream.LiveRunner | None = None
        self._first_view = self._view = view
        self._watcher = watcher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="esteem-live4d", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def abort(self) -> None:
        """Stop soon; what was taken stays."""
        self._stop.set()

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @property
    def view(self) -> View:
        """What the images are made with from now on."""
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        self._view = view

    def look(self) -> Update | None:
        """Make the images of what has come so far with the present view; None before the first frame.

        Raises
        ------
        EsteemError
            If the view asks for what needs the frames again (another semi-angle or pixel size).
        """
        runner = self.runner
        if runner is None or not runner.status.reduced:
            return None
        results = {}
        for name in ("statistics", "detectors", "com", "ssb"):
            with contextlib.suppress(ReducerError):
                results[name] = runner.evaluate(name, lambda reducer, state: reducer.result(state))
        return self._update(results, runner.status)

    def _update(self, results: dict[str, Any], status: stream.LiveStatus) -> Update:
        view, runner, results = self._view, self.runner, dict(results)
        if view != self._first_view and runner is not None:
            if "com" in results:
                com = fourd.CenterOfMass(view.geometry)
                results["com"] = runner.evaluate("com", lambda reducer, state: com.result(state))
            if "ssb" in results:
                results["ssb"] = runner.evaluate(
                    "ssb",
                    lambda reducer, state: reducer.evaluate(
                        state, geometry=view.geometry, regularization=view.regularization
                    ),
                )
        return Update(fourd.live_images(results, view.geometry), results, view, status)

    def _publish(self, results: dict[str, Any], status: stream.LiveStatus) -> None:
        self._watcher.updated(self._update(results, status))

    def _make_runner(self, spec: stream.Spec, store: stream.ChunkStore | None) -> stream.LiveRunner:
        view = self._first_view
        fourd.warm_up(view.geometry, spec)
        reducers = fourd.live_reducers(view.geometry, spec.frame_shape, regularization=view.regularization)
        self.runner = stream.LiveRunner(
            reducers, spec, store=store, publish=self._publish, publish_interval_s=PUBLISH_S
        )
        return self.runner

    def _run(self) -> None:
        try:
            message = self._work()
        except CancelledError as error:
            message = str(error)
        except EsteemError as error:
            message = f"Error: {error}"
        except Exception as error:
            message = f"Error: {type(error).__name__}: {error}"
        finally:
            self._release()
        self._watcher.ended(message)

    def _release(self) -> None:
        """Give back what the run needed for itself alone."""

    def _work(self) -> str:
        raise NotImplementedError


class Acquisition(LiveSession):
    """Frames from the microscope.

    Parameters
    ----------
    plan : Plan
    view : View
    base : Geometry
        See `LiveSession`.
    ticket : Ticket
        The right to acquire; released at the end.
    watcher : Watcher
    folder : Path or None
        Where the raw file goes; None to keep none.
    make_writer : callable
        `esteemcore.io.Writer`, or what tests put in its place.
    """

    def __init__(
        self,
        plan: Plan,
        view: View,
        base: fourd.Geometry,
        ticket: Ticket,
        watcher: Watcher,
        folder: Path | None,
        make_writer: Callable[..., Any] = io.Writer,
    ) -> None:
        super().__init__(view, watcher, time.strftime("%Y-%m-%d %H:%M:%S"), base)
        self._plan, self._ticket = plan, ticket
        self._make_writer = make_writer
        self._failure: Exception | None = None
        if folder is not None:
            self.path = _free_name(folder)

    def abort(self) -> None:
        """Stop the scan; what was taken goes into the file."""
        super().abort()
        self._abort_scan()

    def _abort_scan(self) -> None:
        with contextlib.suppress(AttributeError):  # Nion has nothing to abort before its very first run
            self._plan.scan_source.grab_synchronized_abort()

    def _release(self) -> None:
        self._ticket.release()

    def _work(self) -> str:
        plan = self._plan
        self._wait_for_scene()
        parameters, pattern = plan.scan_parameters()
        self.total = len(pattern) * plan.frames
        spec = plan.spec()
        self.metadata = {
            "plan": plan.record(),
            "scan": ScanPlan.of(parameters).as_dict(),
            "instrument": dict(plan.instrument.get_autostem_properties()),
            "raw_file": str(self.path) if self.path is not None else None,
        }
        writer = self._open_writer(spec)
        runner = self._make_runner(spec, writer)
        self._watcher.said("Acquiring")
        try:
            with acquiring(self._ticket, plan.instrument):
                errors = self._grab(parameters, runner)
        except Exception as error:
            errors = [error]
        message = self._finish(runner, writer)
        first = self._failure or (errors[0] if errors else None)
        if first is not None and not (self._stop.is_set() and self._failure is None):
            return f"Error: {_sentence(first)}; {message}"
        if self._stop.is_set():
            return f"Stopped by the user; {message}"
        return f"Done: {message}"

    def _wait_for_scene(self) -> None:
        """Let a simulator compute what there is to see; real microscopes are ready."""
        instrument: Any = self._plan.instrument
        if not hasattr(instrument, "prepare_scene"):
            return
        instrument.prepare_scene()
        while instrument.stage.current is None:
            if self._stop.wait(0.05):
                raise CancelledError("Stopped by the user before the first frame")
            self._watcher.said(f"Waiting: {instrument.stage.status}")

    def _open_writer(self, spec: stream.Spec) -> Any:
        if self.path is None:
            return None
        plan, geometry = self._plan, self._first_view.geometry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self._make_writer(
            self.path,
            spec,
            scan=io.ScanRecord(
                plan.shape,
                dwell_s=plan.dwell_s,
                flyback_s=plan.order.flyback_us * 1e-6,
                step_nm=geometry.step_nm,
                rotation_deg=geometry.rotation_deg,
            ),
            geometry=geometry,
            metadata={name: value for name, value in self.metadata.items() if name != "raw_file"},
        )

    def _grab(self, parameters: Any, runner: stream.LiveRunner) -> list[Exception]:
        plan, errors = self._plan, list[Exception]()
        size = parameters.scan_size

        def take(chunk: stream.Chunk) -> None:
            try:
                runner.put(chunk)
            except StreamError as error:  # the chunk is taken all the same
                failed(error)

        def failed(error: Exception) -> None:
            self._failure = self._failure or error

        def watch() -> None:
            if self._stop.is_set() or self._failure is not None:
                self._abort_scan()

        sink = FrameSink(
            plan.camera_source.hardware_source_id,
            ScanPlan.of(parameters),
            (size.height, size.width),
            plan.dwell_s,
            take,
            failed,
            watch,
        )
        if self._stop.is_set():
            return errors
        try:
            plan.scan_source.grab_synchronized(
                scan_frame_parameters=parameters,
                camera=plan.camera_source,
                camera_frame_parameters=plan.camera_parameters(),
                data_channel=sink,
                scan_count=plan.frames,
                error_handler=errors.append,
            )
        except RuntimeError as error:
            errors.append(error)
        return errors

    def _finish(self, runner: stream.LiveRunner, writer: Any) -> str:
        """Wait for store and reducers; return what became of the frames."""
        problem = ""
        try:
            runner.finish()
        except StreamError as error:
            problem = str(error)
        if "publish" in runner.errors:
            problem = problem or f"the images could not be shown ({runner.errors['publish']})"
        if writer is not None:
            try:
                writer.close()
            except EsteemError as error:
                problem = problem or str(error)
        status = runner.status
        count = f"{status.acquired:,} of {self.total:,} frames"
        if problem:
            return f"{count} taken; {problem}"
        return f"{count}, all of them in {self.path}" if writer is not None else f"{count}, not kept in a file"

    @property
    def unsaved(self) -> int:
        """Number of frames that the raw file did not take and that are still in memory."""
        if self.runner is None or self.path is None or self.is_running:
            return 0
        return sum(len(chunk) for chunk in self.runner.unsaved)

    def rescue(self, folder: Path) -> Path:
        """Write the frames that the raw file did not take to another folder, and return the new file.

        Raises
        ------
        StreamError
            If there are none, or that disk refuses, too.
        """
        if self.runner is None or not self.unsaved:
            raise StreamError("all frames are in the raw file")
        path = _free_name(folder, "_rest")
        with io.Writer(path, self._plan.spec(), geometry=self._first_view.geometry, metadata=self.metadata) as writer:
            for chunk in self.runner.unsaved:
                writer.append(chunk)
        return path


class FileRun(LiveSession):
    """Frames from a file, through the same chain.

    Parameters
    ----------
    path : Path
    watcher : Watcher
    fallback : Geometry or None
        For what the file does not say.
    regularization : float
    typed : callable, optional
        Makes the view from the geometry of the file; by default it is used as it is.
    """

    def __init__(
        self,
        path: Path,
        watcher: Watcher,
        fallback: fourd.Geometry | None,
        regularization: float,
        typed: Callable[[fourd.Geometry], View] | None = None,
    ) -> None:
        self._file = path
        self._source = io.source(path)
        entries: dict[str, Any] = {
            field.name: getattr(fallback, field.name, None) for field in dataclasses.fields(fourd.Geometry)
        }
        known = {name: value for name, value in self._source.dataset.geometry.items() if name in entries}
        entries.update({"rotation_deg": 0.0, "flip": False} if fallback is None else {}, **known)
        try:
            base = fourd.Geometry(**entries)
        except CalibrationError as error:
            raise CalibrationError(f"{path.name}: {error}") from error
        super().__init__(typed(base) if typed else View(base, regularization), watcher, path.name, base)
        self.path = path

    def _work(self) -> str:
        source, dataset = self._source, self._source.dataset
        self.total = len(source)
        self.metadata = {**dataset.metadata, "raw_file": str(self._file)}
        self._watcher.said(f"Reading {self._file.name}")
        with self._make_runner(source.spec, None) as runner:
            for chunk in source.chunks():
                if self._stop.is_set():
                    break
                runner.put(chunk)
                while runner.status.memory_bytes > READ_AHEAD_BYTES and not runner.errors:
                    time.sleep(0.002)
            runner.finish()
        notes = "".join(f"; {note}" for note in dataset.notes)
        word = "Stopped by the user" if self._stop.is_set() else "Done"
        return f"{word}: {runner.status.acquired:,} of {self.total:,} frames read from {self._file}{notes}"


def _free_name(folder: Path, end: str = "") -> Path:
    """Return a new name by date and time."""
    stem = time.strftime("live4d_%Y%m%d_%H%M%S")
    names = [f"{stem}{end}.esteem", *(f"{stem}_{k}{end}.esteem" for k in range(2, 100))]
    return next((folder / name for name in names if not (folder / name).exists()), folder / names[-1])


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, EsteemError) else f"{type(error).__name__}: {error}"
