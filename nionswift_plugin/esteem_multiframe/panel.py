"""The panel: session, region, pixels, costs, and the buttons."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nion.swift import Panel
from nion.swift.model import DataItem, Notification
from nion.ui import Declarative
from nion.utils import Model

from esteemcore import multiframe
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_multiframe import detectors, panel_view, resume, survey
from nionswift_plugin.esteem_multiframe.hidden_notice import HiddenNotice
from nionswift_plugin.esteem_multiframe.live_results import LiveResults
from nionswift_plugin.esteem_multiframe.model import MultiframeModel
from nionswift_plugin.esteem_multiframe.series import SeriesRun
from nionswift_plugin.esteem_multiframe.taking import Taker
from nionswift_plugin.esteem_scan import binding
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK
from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls
from nionswift_plugin.esteem_scan.words import sentence

PANEL_ID = "esteem-multiframe-panel"
TITLE = "Multi-Frame (Esteem)"
_FOLDER_KEY = "Esteem/multiframe_folder"
_CLOSING_S = 10.0


class MultiframeHandler(Declarative.Handler):
    """What the panel shows and does; everything here runs on the thread of the user interface.

    Parameters
    ----------
    document_controller
        Nion's window.

    Attributes
    ----------
    model : MultiframeModel
    survey : Survey
    run : SeriesRun or None
        The present or the last one.
    region : RegionFolder or None
        Where frames go; None before the first region is made.
    live : LiveResults
        What is seen and judged while frames come in.
    on_frame : callable or None
        Asked instead of `live` whether it is enough: called with each `esteemcore.multiframe.AcquiredFrame`, in the
        thread of the run, after it was stored; what it returns, in words, ends the series.
    on_begin, on_end : callable or None
        Called on the thread of the user interface with the plan before, and with the `SeriesRun` after a run.
    last_item : DataItem or None
        Shows the newest frame.
    """

    def __init__(self, document_controller: Any) -> None:
        super().__init__()
        self._window = document_controller
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        folder = document_controller.ui.get_persistent_string(_FOLDER_KEY, "") or str(Path.home() / "Esteem")
        self.message = Model.PropertyModel("Ready")
        self.model = MultiframeModel(self._calls, folder, self._say)
        self.survey = survey.Survey(document_controller, self._region_drawn)
        self.live = LiveResults(document_controller, self._calls, self._say)
        self.number, self.whole = NumberConverter(), WholeConverter()
        self.run: SeriesRun | None = None
        self.region: multiframe.RegionFolder | None = None
        self.on_frame: Callable[[multiframe.AcquiredFrame], str | None] | None = None
        self.on_begin: Callable[[multiframe.SeriesPlan], None] | None = None
        self.on_end: Callable[[SeriesRun], None] | None = None
        self.last_item: DataItem.DataItem | None = None
        self.region_name = Model.PropertyModel("No region yet")
        self.live_text = Model.PropertyModel("Live view")
        self.progress = Model.PropertyModel(0)
        self.is_idle = Model.PropertyModel(True)
        self.is_running = Model.PropertyModel(False)
        self.model.folder.on_value_changed = lambda value: self._forget_region()
        self._resumed: list[multiframe.RegionFolder] = []
        self._is_closed = self._is_hidden = False
        self._notice: HiddenNotice | None = None
        self.model.on_size_typed = self.survey.resize
        self.ui_view = panel_view.make_view(Declarative.DeclarativeUI())

    @property
    def is_busy(self) -> bool:
        """Whether a run or a survey goes on."""
        return not self.is_idle.value

    def _say(self, words: str) -> None:
        self.message.value = f"Not taken: {words}"

    def stop(self) -> None:
        """Stop a run and wait until the beam is blanked."""
        if self.run is not None and self.run.is_running:
            self.run.abort()
            self.run.join(_CLOSING_S)

    def set_hidden(self, hidden: bool) -> None:
        """Note that the panel is hidden, or shown again: a series goes on, and a notice says so and can abort it."""
        self._is_hidden = hidden
        self._tell_hidden()

    def _show_panel(self) -> None:
        panel = self._window.find_dock_panel(PANEL_ID)
        if panel is not None:
            panel.show()

    def _tell_hidden(self) -> None:
        wanted = self._is_hidden and self.is_running.value and not self._is_closed
        if wanted and self._notice is None:
            self._notice = HiddenNotice(TITLE, self.message, self._show_panel, lambda: self.abort_clicked(None))
            Notification.notify(self._notice)
        elif not wanted and self._notice is not None:
            self._notice.dismiss()
            self._notice = None

    def close(self) -> None:
        """Stop a run and let go of everything."""
        self._is_closed = True
        self._tell_hidden()
        self.stop()
        self._calls.close()
        self.survey.close()
        self.model.close()
        super().close()

    # buttons ----------------------------------------------------------------------------------------------------

    def folder_clicked(self, widget: Any) -> None:
        """Ask for the session folder."""
        chosen, _ = self._window.ui.get_existing_directory_dialog("Session folder", self.model.folder.value or "")
        if chosen:
            self.model.folder.value = chosen

    def script_clicked(self, widget: Any) -> None:
        """Ask for the script that is run at the end."""
        chosen, *_ = self._window.ui.get_file_path_dialog(
            "Script to run at the end", self.model.folder.value or "", "Python (*.py)"
        )
        if chosen:
            self.model.after.script.value = chosen

    def new_region_clicked(self, widget: Any) -> None:
        """Make the next numbered folder."""
        try:
            self.region = self.model.session.new_region()
        except EsteemError as error:
            self.message.value = f"No new region: {error}"
            return
        self._window.ui.set_persistent_string(_FOLDER_KEY, self.model.folder.value or "")
        self.message.value = f"Frames go to {self.region.path}"
        self._show_region()

    def last_region_clicked(self, widget: Any) -> None:
        """Go on with the last region of the session, also one of an earlier day."""
        try:
            self._resumed = resume.last_folders(self.model.session)
        except (EsteemError, OSError) as error:
            self.message.value = f"Nothing to go on with: {sentence(error)}"
            return
        self.region = self._resumed[0]
        lacking = resume.take_over(self.model, self.region)
        how = "draw or type the same region" if lacking is None else "all is set as it was"
        if lacking:
            how += f", but without {' and '.join(lacking)}, which is not there"
        self.message.value = f"Frames are appended to {self.region.path}; {how}"
        self._show_region()

    def live_clicked(self, widget: Any) -> None:
        """Start or stop the live view; the dose ledger counts it."""
        source = self.model.source
        if source is None:
            self.message.value = "There is no scan device"
        elif source.is_playing:
            source.stop_playing()
            self.live_text.value = "Live view"
        else:
            source.start_playing()
            self.live_text.value = "Stop view"

    def survey_clicked(self, widget: Any) -> None:
        """Scan the field of the scan panel once, in a thread."""
        source = self.model.source
        try:
            if source is None:
                raise ParameterError("there is no scan device")
            channels, _ = detectors.split(self.model.chosen)
            ticket = LOCK.take(TITLE, source.abort_recording)
        except EsteemError as error:
            self.message.value = f"No survey: {error}"
            return
        self._stop_view()
        self._busy(True)
        self.message.value = "Taking the survey image"

        def work() -> None:
            try:
                found: Any = survey.take(ticket, source, channels[0])
            except Exception as error:
                found = error
            finally:
                ticket.release()
            self._calls.later(lambda: self._surveyed(found))

        threading.Thread(target=work, name="esteem-survey", daemon=True).start()

    def current_clicked(self, widget: Any) -> None:
        """Take the probe current of the instrument again."""
        self.model.read_current()

    def override_clicked(self, widget: Any) -> None:
        """Go beyond the budget."""
        self.model.override()

    def acquire_clicked(self, widget: Any) -> None:
        """Begin a series, or append to it."""
        if self.is_busy:
            self.message.value = "A series or a survey is running; abort it first"
            return
        model, stop = self.model, threading.Event()
        try:
            plan, session, afterwards = model.plan, model.session, model.after.value
            model.check(plan)
            channels, cameras = detectors.split(model.chosen)
            ticket = LOCK.take(TITLE, lambda: self.abort_clicked(None))
            try:
                if self.region is None:
                    self.region = session.new_region()
                before = self.run.to_save if self.run is not None else ()
                taker = Taker(model.source, channels, cameras, plan, stop)
                run = SeriesRun(
                    plan, session, self._folders(), taker, ticket, stop, afterwards, self._metadata(), before,
                    self.live, self._frame_stored, self._ended,
                )  # fmt: skip
                spectra = [camera.key for camera in cameras if camera.kind == "spectra"]
                self.live.begin(plan, channels[0].key, spectra)
                self.run = run  # from here on: the run before may have a frame that the disk did not take
                model.overheads.start(plan, len(cameras))
                if self.on_begin is not None:
                    self.on_begin(plan)
                self._stop_view()
                self._busy(True)
                self.is_running.value = True
                self._tell_hidden()
                self.progress.value, self.message.value = 0, "Acquiring"
                run.start()
            except BaseException:
                ticket.release()
                self._busy(False)
                raise
        except Exception as error:
            self.message.value = f"Not started: {sentence(error)}"
            return
        self._window.ui.set_persistent_string(_FOLDER_KEY, model.folder.value or "")
        self._show_region()

    def abort_clicked(self, widget: Any) -> None:
        """Stop the run."""
        if self.run is not None and self.run.is_running:
            self.message.value = "Stopping"
            self.run.abort()

    # what comes from threads --------------------------------------------------------------------------------------

    def _frame_stored(self, frame: multiframe.AcquiredFrame) -> str | None:
        """Show a frame, in the thread of the run, and ask whether it is enough."""
        name = next(iter(frame.values))
        image = frame.values[name]
        self._calls.newest("frame", lambda: self._show_frame(frame, name, image))
        self.model.overheads.add(frame)
        asked = None if self.on_frame is None else self.on_frame(frame)
        enough = self.live(frame)
        return enough if self.on_frame is None else asked

    def _show_frame(self, frame: multiframe.AcquiredFrame, name: str, image: Any) -> None:
        self.progress.value = round(100 * frame.done / frame.planned)
        if self.is_running.value:
            self.message.value = f"Frame {frame.done} of {frame.planned} stored ({frame.path.parent.name})"
        self._show_region(frame.number + 1)
        step = (frame.region.pixel_size_nm, frame.region.pixel_size_nm)
        metadata = {binding.KEY: {"signal": name, "frame": frame.number, "file": str(frame.path)}}
        xdata = binding.to_xdata(image, step, "counts", metadata)
        if self.last_item is None or self.last_item not in self._window.document_model.data_items:
            self.last_item = DataItem.new_data_item(xdata)
            self._window.document_model.append_data_item(self.last_item)
            survey.show_item(self._window, self.last_item)
        self.last_item.set_data_and_metadata(xdata)
        self.last_item.title = f"{name}, newest frame"

    def _ended(self, message: str) -> None:
        self._calls.later(lambda: self._show_end(message))

    def _show_end(self, message: str) -> None:
        run = self.run
        if run is not None:
            self.region = run.folders[0]
        self._busy(False)
        self.message.value = message
        self._show_region()
        self.model.refresh()
        self.live.end()
        if self.on_end is not None and run is not None:
            self.on_end(run)

    def _surveyed(self, found: Any) -> None:
        self._busy(False)
        if isinstance(found, Exception):
            self.message.value = f"No survey: {sentence(found)}"
            return
        xdata, field = found
        if xdata is None:
            self.message.value = "No survey: no image came from the scan device"
            return
        self.message.value = "Move and size the rectangle on the survey image"
        size = (self.model._value("height_nm"), self.model._value("width_nm"))
        self.survey.show(xdata, field, size)

    def _region_drawn(self) -> None:
        drawn = self.survey.drawn
        if drawn is not None:
            self.model.set_region(*drawn)

    # state --------------------------------------------------------------------------------------------------------

    def _metadata(self) -> dict[str, Any]:
        instrument = self.model.instrument
        ledger = instrument.ledger
        return {
            "instrument": dict(instrument.get_autostem_properties()),
            "dose_before": self.model.report.so_far,
            "budget_overrides": [
                {"exceeded": list(o.exceeded), "reason": o.reason, "time": o.time} for o in ledger.overrides
            ],
        }

    def _folders(self) -> list[multiframe.RegionFolder]:
        """Return the folders of the areas: of the last run or as taken up again, if that is in the present region."""
        if self.region is None:
            return []
        known = ([] if self.run is None else self.run.folders, self._resumed)
        return next((some for some in known if some and some[0].path == self.region.path), [self.region])

    def _stop_view(self) -> None:
        source = self.model.source
        if source is not None and source.is_playing:
            source.abort_playing()
        self.live_text.value = "Live view"

    def _forget_region(self) -> None:
        self.region = None
        self._show_region()

    def _show_region(self, count: int | None = None) -> None:
        run = self.run
        region = run.folders[-1] if run is not None and run.is_running else self.region
        if region is None:
            self.region_name.value = "No region yet"
        else:
            try:
                count = region.count if count is None else count
            except (EsteemError, OSError) as error:
                self.region_name.value = f"{region.path.name}: {sentence(error)}"
                return
            self.region_name.value = f"{region.path.name}: {count:,} {'frame' if count == 1 else 'frames'}"

    def _busy(self, busy: bool) -> None:
        self.is_idle.value = not busy
        self.is_running.value = False
        self._tell_hidden()


class MultiframePanel(Panel.Panel):
    """The panel as Nion's workspace makes it."""

    def __init__(self, document_controller: Any, panel_id: str, properties: Mapping[str, Any]) -> None:
        super().__init__(document_controller, panel_id, TITLE)
        self.handler = MultiframeHandler(document_controller)
        before = document_controller.on_close

        def closing() -> None:
            self.handler.stop()
            if before is not None:
                before()

        document_controller.on_close = closing
        self.widget = Declarative.DeclarativeWidget(
            document_controller.ui, document_controller.event_loop, self.handler
        )

    def create_dock_widget(self, title: str, positions: Sequence[str], position: str) -> None:
        """Make the place of the panel in the window; Nion calls this."""
        super().create_dock_widget(title, positions, position)
        self.dock_widget.on_will_hide = lambda: self.handler.set_hidden(True)
        self.dock_widget.on_will_show = lambda: self.handler.set_hidden(False)
