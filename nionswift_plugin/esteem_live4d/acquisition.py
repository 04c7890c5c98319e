"""A live run at the microscope: frames to the raw file and to the images."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esteemcore import fourd, io, stream
from esteemcore.errors import CancelledError, EsteemError, StreamError
from nionswift_plugin.esteem_live4d.raw_files import free_name
from nionswift_plugin.esteem_live4d.session import LiveSession, View, Watcher
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.acquisition_lock import Ticket, acquiring
from nionswift_plugin.esteem_scan.event_loop import steady
from nionswift_plugin.esteem_scan.frame_sink import FrameSink
from nionswift_plugin.esteem_scan.nion_progress import in_other_bytes
from nionswift_plugin.esteem_scan.plan import Plan
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan
from nionswift_plugin.esteem_scan.words import sentence


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
    bragg_significance : float, optional
        See `LiveSession`.
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
        bragg_significance: float | None = None,
    ) -> None:
        super().__init__(view, watcher, time.strftime("%Y-%m-%d %H:%M:%S"), base, bragg_significance)
        self._plan, self._ticket = plan, ticket
        self._make_writer = make_writer
        self._failure: Exception | None = None
        self._is_rescued = False
        if folder is not None:
            self.path = free_name(folder)

    def abort(self) -> None:
        """Stop the scan; what was taken goes into the file. Returns at once: the camera may have frames to deliver."""
        super().abort()
        threading.Thread(target=self._stop_beam, name="esteem-abort", daemon=True).start()

    def _stop_beam(self) -> None:
        if self.is_running:
            self._plan.instrument.safe_state("Stopped by the user")  # also while Nion prepares and hears nothing
            self._abort_scan()

    def _abort_scan(self) -> None:
        with contextlib.suppress(AttributeError):  # Nion has nothing to abort before its very first run
            self._plan.scan_source.grab_synchronized_abort()

    def _work(self) -> str:
        try:
            with steady():
                return self._acquire()
        finally:
            self._ticket.release()

    def _acquire(self) -> str:
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
        self._prepare(spec)
        writer = self._open_writer(spec)
        try:
            runner = self._make_runner(spec, writer)
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        self._watcher.said("Acquiring")
        try:
            with acquiring(self._ticket, plan.instrument):
                errors = self._grab(parameters, runner)
        except Exception as error:
            errors = [error]
        message, problem = self._finish(runner, writer)
        first = self._failure or (errors[0] if errors else None)
        if problem:  # it says what became of the frames, which is more than what stopped them
            return f"Error: {problem}; {message}"
        if first is not None and not (self._stop.is_set() and self._failure is None):
            return f"Error: {self._in_words(first)}; {message}"
        if self._stop.is_set():
            return f"Stopped by the user; {message}"
        return f"Done: {message}"

    def _in_words(self, error: Exception) -> str:
        """Return what went wrong; a device that went away makes Nion stumble over anything."""
        plan = self._plan
        if not isinstance(error, EsteemError):
            if plan.scan_source not in devices.scan_devices():
                return "the scan device was removed from Nion Swift"
            if plan.camera_source not in devices.cameras():
                return "the camera was removed from Nion Swift"
        return sentence(error)

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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise StreamError(f"no raw file can be made in {self.path.parent}: {sentence(error)}") from error
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
            with in_other_bytes():
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

    def _finish(self, runner: stream.LiveRunner, writer: Any) -> tuple[str, str]:
        """Wait for store and reducers; return what became of the frames, and what went wrong with them."""
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
            except (EsteemError, OSError) as error:
                problem = problem or sentence(error)
        status = runner.status
        count = f"{status.acquired:,} of {self.total:,} frames"
        if problem:
            return f"{count} taken", problem
        return (f"{count}, all of them in {self.path}" if writer is not None else f"{count}, not kept in a file"), ""

    @property
    def unsaved(self) -> int:
        """Number of frames that the raw file did not take and that are still in memory."""
        if self.runner is None or self.path is None or self.is_running or self._is_rescued:
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
        path = free_name(folder, "_rest")
        with io.Writer(path, self._plan.spec(), geometry=self._first_view.geometry, metadata=self.metadata) as writer:
            for chunk in self.runner.unsaved:
                writer.append(chunk)
        self._is_rescued = True
        return path
