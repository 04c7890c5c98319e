"""The panel: devices, plan, dose, geometry, storage, and the buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nion.swift import Panel
from nion.ui import Declarative
from nion.utils import Model

from esteemcore import fourd, io
from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_live4d import panel_view
from nionswift_plugin.esteem_live4d.acquisition import Acquisition
from nionswift_plugin.esteem_live4d.file_run import FileRun
from nionswift_plugin.esteem_live4d.geometry_model import GeometryModel
from nionswift_plugin.esteem_live4d.images import LiveImages
from nionswift_plugin.esteem_live4d.raw_files import folder_of
from nionswift_plugin.esteem_live4d.session import LiveSession, Update, View
from nionswift_plugin.esteem_live4d.watcher import WindowWatcher
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK
from nionswift_plugin.esteem_scan.converters import NumberConverter
from nionswift_plugin.esteem_scan.event_loop import NewestFirst, UserInterfaceCalls
from nionswift_plugin.esteem_scan.plan_model import PlanModel
from nionswift_plugin.esteem_scan.plan_view import PlanHandler
from nionswift_plugin.esteem_scan.words import sentence

PANEL_ID = "esteem-live4d-panel"
TITLE = "Live 4D-STEM (Esteem)"
_FOLDER_KEY = "Esteem/live4d_folder"
_CLOSING_S = 10.0
_RESCUING_S = 120.0


class LiveHandler(Declarative.Handler):
    """What the panel shows and does; everything here runs on the thread of the user interface.

    Parameters
    ----------
    document_controller
        Nion's window.

    Attributes
    ----------
    plan : PlanModel
    geometry : GeometryModel
    images : LiveImages
    session : LiveSession or None
        The present or the last run; its counts are kept until the next one.
    bragg, bragg_significance : PropertyModel
        Whether a run looks for Bragg disks, and their least score in standard deviations.
    folder, keep_raw, progress, status, message : PropertyModel
    is_idle, is_running, has_file, has_rest : PropertyModel
        What decides which buttons can be pushed.
    make_writer : callable
        What makes the raw file.
    """

    def __init__(self, document_controller: Any) -> None:
        super().__init__()
        self._window = document_controller
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self._redrawing = NewestFirst(self._calls, "esteem-phase")
        self._filing = NewestFirst(self._calls, "esteem-file")  # of its own: a redraw may not take its place
        self._is_rest_given_up = False
        self._is_closed = False
        self._known: fourd.Geometry | None = None
        self.make_writer: Callable[..., Any] = io.Writer
        self.session: LiveSession | None = None
        self.is_idle = Model.PropertyModel(True)
        self.is_running = Model.PropertyModel(False)
        self.has_file = Model.PropertyModel(False)
        self.has_rest = Model.PropertyModel(False)
        self._update: Update | None = None
        self.images = LiveImages(document_controller)
        self.geometry = GeometryModel(self._view_changed)
        folder = document_controller.ui.get_persistent_string(_FOLDER_KEY, "") or str(Path.home() / "Esteem")
        self.folder = Model.PropertyModel(folder)
        self.bragg = Model.PropertyModel(False)
        self.bragg_significance = Model.PropertyModel(5.0)
        self.keep_raw = Model.PropertyModel(True)
        self.progress = Model.PropertyModel(0)
        self.status = Model.PropertyModel("")
        self.message = Model.PropertyModel("Ready")
        self.number = NumberConverter()
        self.plan = PlanModel(self._calls)
        self._plan_listener = self.plan.changed_event.listen(self._plan_reported)
        self.plan_handler: PlanHandler | None = None
        self.ui_view = panel_view.make_view(Declarative.DeclarativeUI())

    def create_handler(self, component_id: str, container: Any = None, item: Any = None, **kwargs: Any) -> Any:
        """Make the part of the panel with the plan; Nion calls this."""
        if component_id == "plan":
            self.plan_handler = PlanHandler(self.plan)
        return self.plan_handler

    @property
    def is_busy(self) -> bool:
        """Whether an acquisition or a file is running."""
        return not self.is_idle.value

    def stop(self) -> None:
        """Stop a run, wait until its frames are safe and the beam is blanked, and write its images."""
        session = self.session
        if session is not None and session.is_running:
            session.abort()
            session.join(_CLOSING_S)
        self.images.end()

    def close(self) -> None:
        """Stop a run and let go of everything."""
        self._is_closed = True
        self.stop()
        self._calls.close()
        self._plan_listener.close()
        self._redrawing.close()
        self._filing.close(_RESCUING_S)
        self.plan.close()
        self.session = None
        super().close()

    # buttons ----------------------------------------------------------------------------------------------------

    def acquire_clicked(self, widget: Any) -> None:
        """Begin an acquisition."""
        if self.is_busy:
            self.message.value = "An acquisition or a file is running; abort it first"
            return
        if self._has_rest_at_stake():
            return
        watcher = WindowWatcher(self, self._calls)
        try:
            plan = self.plan.plan
            self.plan.check(plan)
            base = plan.geometry()
            view = self.geometry.view(base)
            folder = folder_of(self.folder.value or "") if self.keep_raw.value else None
            ticket = LOCK.take(TITLE, lambda: self.abort_clicked(None))
            try:
                session = Acquisition(plan, view, base, ticket, watcher, folder, self.make_writer, self._least_score())
                self._start(session, watcher)
            except BaseException:
                ticket.release()
                self._busy(False)
                raise
        except Exception as error:
            self.message.value = f"Not started: {sentence(error)}"
            return
        self._window.ui.set_persistent_string(_FOLDER_KEY, self.folder.value or "")

    def _has_rest_at_stake(self) -> bool:
        """Say once that a new run would drop frames that are in no file; the user may want it so."""
        session = self.session
        if not isinstance(session, Acquisition) or not session.unsaved or self._is_rest_given_up:
            return False
        self._is_rest_given_up = True
        self.message.value = (
            f"{session.unsaved:,} frames of the last run are only in memory: save them with 'Save rest...', "
            "or do it once more to give them up"
        )
        return True

    def abort_clicked(self, widget: Any) -> None:
        """Stop the run."""
        if self.session is not None and self.session.is_running:
            self.message.value = "Stopping"
            self.session.abort()

    def open_clicked(self, widget: Any) -> None:
        """Ask for a container and read it."""
        chosen, _ = self._window.ui.get_existing_directory_dialog("Open a container of Esteem", self.folder.value or "")
        if chosen:
            self.open_file(Path(chosen))

    def open_file_clicked(self, widget: Any) -> None:
        """Ask for a file of another program and read it."""
        chosen, *_ = self._window.ui.get_file_path_dialog("Open 4D-STEM data", self.folder.value or "", "All files (*)")
        if chosen:
            self.open_file(Path(chosen))

    def again_clicked(self, widget: Any) -> None:
        """Read the raw frames of the last run again, with the geometry of the panel."""
        path = self.session.path if self.session is not None else None
        if path is None or not path.exists():
            self.message.value = "There is no raw file to read again"
        else:
            self.open_file(path, keep_view=True)

    def rescue_clicked(self, widget: Any) -> None:
        """Ask for a folder and write what the raw file did not take."""
        session = self.session
        if not isinstance(session, Acquisition) or not session.unsaved:
            self.message.value = "Nothing to save: no frames are left in memory"
            return
        chosen, _ = self._window.ui.get_existing_directory_dialog("Save the rest in", self.folder.value or "")
        if chosen:
            self.rescue(Path(chosen))

    def folder_clicked(self, widget: Any) -> None:
        """Ask for the folder of the raw files."""
        chosen, _ = self._window.ui.get_existing_directory_dialog("Folder for raw frames", self.folder.value or "")
        if chosen:
            self.folder.value = chosen

    def measured_clicked(self, widget: Any) -> None:
        """Take the calibrations of the instrument, or of the file, again."""
        self.geometry.forget()
        self.plan.find_devices()
        if isinstance(self.session, FileRun):
            self.geometry.follow(self.session.base)
        self._view_changed()

    # runs -------------------------------------------------------------------------------------------------------

    def open_file(self, path: Path, *, keep_view: bool = False) -> None:
        """Make the images from a file.

        Parameters
        ----------
        path : Path
        keep_view : bool
            Use the geometry of the panel instead of that in the file.
        """
        if self.is_busy:
            self.message.value = "An acquisition or a file is running; abort it first"
            return
        if self._has_rest_at_stake():
            return
        if not keep_view:
            self.geometry.forget()
        typed = self.geometry.view if keep_view else None
        fallback, regularization = self._known, self.geometry.regularization.value or 0.03
        least = self._least_score()

        watcher = WindowWatcher(self, self._calls)
        self._busy(True)
        self.message.value = f"Opening {path.name}"
        self._filing.submit(
            lambda: FileRun(path, watcher, fallback, regularization, typed, least),
            lambda run: self._opened(run, watcher),
        )

    def _least_score(self) -> float | None:
        """Return the least score of Bragg disks; None where none are looked for."""
        return (self.bragg_significance.value or 0.0) if self.bragg.value else None

    def _opened(self, run: FileRun | Exception, watcher: WindowWatcher) -> None:
        if isinstance(run, Exception):
            self._busy(False)
            self.message.value = f"Not opened: {sentence(run)}"
        else:
            self.geometry.follow(run.base)
            self._start(run, watcher)

    def rescue(self, folder: Path) -> None:
        """Write what the raw file did not take to another folder, in a thread."""
        session = self.session
        if isinstance(session, Acquisition) and not self.is_busy:
            self._busy(True)
            self.message.value = f"Saving the rest in {folder}"
            self._filing.submit(lambda: session.rescue(folder), self._rescued)

    def _rescued(self, path: Path | Exception) -> None:
        self._busy(False)
        if isinstance(path, Exception):
            self.message.value = f"Error: {sentence(path)}"
        else:
            self.message.value = f"The rest of the frames is in {path}"

    def _start(self, session: LiveSession, watcher: WindowWatcher) -> None:
        self.session = watcher.session = session
        self._is_rest_given_up = False
        self._busy(True)
        self.is_running.value = True
        self._update = None
        self.images.begin()
        self.progress.value, self.status.value, self.message.value = 0, "", "Starting"
        session.start()

    def _busy(self, busy: bool) -> None:
        """Let only those buttons be pushed that do something now."""
        session = self.session
        self.is_idle.value = not busy
        self.is_running.value = False
        self.has_file.value = not busy and session is not None and session.path is not None
        self.has_rest.value = not busy and isinstance(session, Acquisition) and session.unsaved > 0

    # what comes from threads --------------------------------------------------------------------------------------

    def show(self, update: Update, session: LiveSession) -> None:
        """Show a set of images and where the run stands."""
        if session is not self.session:
            return
        status = update.status
        self._update = update
        if self.images.show(update, session):
            self._calls.newest("missing images", self._make_next)
        if not status.reduced:
            return
        self.progress.value = round(100 * status.reduced / session.total) if session.total else 0
        electrons = f"{update.results['ssb'].electrons_per_frame:.3g} e per frame in the disk; " if (
            "ssb" in update.results
        ) else ""  # fmt: skip
        disks = f"{update.disks_per_frame:.3g} disks per frame; " if update.disks_per_frame is not None else ""
        stored = ""
        if isinstance(session, Acquisition):
            stored = f"; {status.stored:,} of {status.acquired:,} stored" if session.path else "; not stored"
        self.status.value = (
            f"{status.frames_per_s:,.0f} frames/s; {electrons}{disks}lag {1e3 * status.lag_s:.0f} ms "
            f"({status.lag_frames:,} frames){stored}{''.join(f'; {note}' for note in update.notes)}"
        )

    def _make_next(self) -> None:
        """Make the data items of the images, one at a turn, so that the window goes on in between."""
        if self._update is not None and self.session is not None and self.images.make_next(self._update, self.session):
            self._calls.newest("missing images", self._make_next)

    def end(self, message: str, session: LiveSession) -> None:
        """Show how a run has ended, with its last images."""
        if session is not self.session:
            return
        self.message.value = message
        self._busy(False)
        if self._update is not None and not self._update.status.reduced:
            self._update = None
        self.images.end()
        self._redraw()
        self.plan.refresh()

    def _plan_reported(self) -> None:
        geometry = self.plan.report.geometry
        if geometry is not None:
            self._known = geometry
            if not isinstance(self.session, FileRun):
                self.geometry.follow(geometry)

    def _view_changed(self) -> None:
        """Look at the same counts with what was typed."""
        if self.session is not None:
            self._redraw()

    def _redraw(self) -> None:
        session = self.session
        if session is None:
            return
        try:
            view = self.geometry.view(session.base)
        except EsteemError as error:
            self.message.value = f"Error: {error}"
            return
        session_view: View = view

        def work() -> Update | None:
            before, session.view = session.view, session_view
            try:
                return session.look()
            except EsteemError:
                session.view = before
                raise

        self._redrawing.submit(work, lambda update: self._redrawn(update, session))

    def _redrawn(self, update: Update | Exception | None, session: LiveSession) -> None:
        if session is not self.session:
            return
        if isinstance(update, Exception):
            self.message.value = f"Error: {sentence(update)}"
        elif update is not None:
            self.show(update, session)


class LivePanel(Panel.Panel):
    """The panel as Nion's workspace makes it."""

    def __init__(self, document_controller: Any, panel_id: str, properties: Mapping[str, Any]) -> None:
        super().__init__(document_controller, panel_id, TITLE)
        self.handler = LiveHandler(document_controller)
        document_controller.on_close = _one_then_other(self.handler.stop, document_controller.on_close)
        self.widget = Declarative.DeclarativeWidget(
            document_controller.ui, document_controller.event_loop, self.handler
        )


def _one_then_other(one: Callable[[], None], other: Callable[[], None] | None) -> Callable[[], None]:
    """Return what a window does before it closes: its panels close one by one, and images may not change in between."""

    def both() -> None:
        one()
        if other is not None:
            other()

    return both
