"""The series as the user types it, and what it costs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nion.instrumentation import HardwareSource
from nion.utils import Event, Model

from esteemcore import multiframe, scan
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_multiframe import cameras, detectors
from nionswift_plugin.esteem_multiframe.after_model import AfterwardsModel
from nionswift_plugin.esteem_multiframe.overheads import Overheads
from nionswift_plugin.esteem_multiframe.ranges import RANGES, Kept
from nionswift_plugin.esteem_multiframe.report import Report, overheads_in_words
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.event_loop import NewestFirst, UserInterfaceCalls
from nionswift_plugin.esteem_scan.words import sentence

SLOTS = 8
"""Signals that the panel can offer."""

_VALUES: dict[str, Any] = {
    "write_overhead_s": 0.0, "compress": True, "height_nm": 6.4, "width_nm": 6.4, "pixel_size_nm": 0.1,
    "dwell_us": 10.0, "frames": 40, "order_index": 0, "seed": 1, "current_pa": 0.0, "scan_overhead_s": 0.0,
    "flyback_us": 50.0, "subpixels": 1, "areas": 1, "area_gap_nm": 10.0, "energy_step_ev": 0.0,
    "xray_lines": "", "motifs": 1,
}  # fmt: skip
_BUDGET = ("total_dose", "dose_rate", "pixel_charge_e")


class MultiframeModel:
    """Values of the panel, each a property model, to be used on the thread of the user interface.

    A number that cannot be meant is not taken, see `Kept`.

    Parameters
    ----------
    calls : UserInterfaceCalls
    folder : str
        Session folder at first.
    say : callable, optional
        Called with what was not taken, in words.

    Attributes
    ----------
    folder : PropertyModel
        Session folder.
    write_overhead_s ... energy_step_ev : PropertyModel
        See `esteemcore.multiframe.SeriesSettings`; ``height_nm`` and ``width_nm`` are the region as drawn or typed.
    xray_lines, motifs : PropertyModel
        See `esteemcore.multiframe.lines_from_words`, and repeats of a motif to be averaged.
    total_dose, dose_rate, pixel_charge_e : PropertyModel
        Budget, 0 for none.
    after : AfterwardsModel
        What is done at the end.
    overheads : Overheads
        What frames have taken to begin and to be written.
    figures, xrays, so_far, warning : PropertyModel
        What follows, in words.
    is_too_much : PropertyModel
        Whether the budget is exceeded and not overridden.
    on_size_typed : callable or None
        Called with height and width in nm when they were typed.
    place : tuple or None
        Centre on the specimen (row, column) in nm and rotation in degrees of a drawn region.
    changed_event : Event
        Fired when the report has been made anew.
    """

    compress: Any
    scan_overhead_s: Any
    write_overhead_s: Any
    height_nm: Any
    width_nm: Any
    current_pa: Any
    override_reason: Any
    xray_lines: Any
    figures: Any
    xrays: Any
    so_far: Any
    warning: Any

    def __init__(self, calls: UserInterfaceCalls, folder: str, say: Callable[[str], None] = lambda words: None) -> None:
        self._calls, self._say = calls, say
        self._worker = NewestFirst(calls, "esteem-multiframe-plan")
        self.changed_event = Event.Event()
        self.report = Report()
        self.place: tuple[tuple[float, float], float] | None = None
        self.is_current_typed = False
        self.on_size_typed: Callable[[tuple[float, float]], None] | None = None
        self._is_following = False
        self.sources: list[Any] = []
        self.detectors: list[detectors.Detector] = []
        self.scan_names = Model.PropertyModel[list[str]]([])
        self.scan_index = Model.PropertyModel(0)
        self.folder = Model.PropertyModel(folder)
        for name, value in _VALUES.items():
            setattr(self, name, Model.PropertyModel(value))
            if name in RANGES:
                self._keep(name, functools.partial(self._edited, name))
            else:
                getattr(self, name).on_value_changed = lambda value, name=name: self._edited(name)
        for name in _BUDGET:
            setattr(self, name, Model.PropertyModel(0.0))
            self._keep(name, self._set_budget)
        for slot in range(SLOTS):
            for part, first in (("name", ""), ("chosen", False), ("there", False)):
                setattr(self, f"slot{slot}_{part}", Model.PropertyModel(first))
            getattr(self, f"slot{slot}_chosen").on_value_changed = lambda value: self.refresh()
        for name in ("override_reason", "figures", "xrays", "so_far", "warning"):
            setattr(self, name, Model.PropertyModel(""))
        self.is_too_much = Model.PropertyModel(False)
        self.after = AfterwardsModel(calls, say)
        self.overheads = Overheads()
        self._instrument_listener: Any = None
        self.scan_index.on_value_changed = lambda value: self._follow_source()
        manager = HardwareSource.HardwareSourceManager()
        self._device_listeners = [
            event.listen(lambda source: calls.newest("multiframe devices", self.find_devices))
            for event in (manager.hardware_source_added_event, manager.hardware_source_removed_event)
        ]
        self.find_devices()

    def _keep(self, name: str, edited: Callable[[], None]) -> None:
        Kept(name, getattr(self, name), self._calls, self._say, edited, lambda: self._is_following)

    def close(self) -> None:
        """Stop."""
        while self._device_listeners:
            self._device_listeners.pop().close()
        self._worker.close()
        if self._instrument_listener is not None:
            self._instrument_listener.close()
            self._instrument_listener = None

    # devices ----------------------------------------------------------------------------------------------------

    def find_devices(self) -> None:
        """Look what there is, keeping the choice where it is still there."""
        before = self.source
        self.sources = devices.scan_devices()
        self.scan_names.value = [source.display_name for source in self.sources]
        self.scan_index.value = self.sources.index(before) if before in self.sources else 0
        self._follow_source()

    @property
    def source(self) -> Any:
        """The chosen scan device; None if there is none."""
        index = self.scan_index.value or 0
        return self.sources[index] if 0 <= index < len(self.sources) else None

    @property
    def instrument(self) -> Any:
        """The instrument of the scan device; None if there is none."""
        return self.source.stem_controller if self.source is not None else None

    @property
    def chosen(self) -> list[detectors.Detector]:
        """The signals to record."""
        return [d for slot, d in enumerate(self.detectors) if getattr(self, f"slot{slot}_chosen").value]

    def _follow_source(self) -> None:
        names = {d.name for d in self.chosen}
        self.detectors = detectors.find(self.source)[:SLOTS]
        for slot in range(SLOTS):
            detector = self.detectors[slot] if slot < len(self.detectors) else None
            getattr(self, f"slot{slot}_name").value = detector.name if detector else ""
            getattr(self, f"slot{slot}_there").value = detector is not None
            getattr(self, f"slot{slot}_chosen").value = detector is not None and (
                detector.name in names or (not names and slot == 0)
            )
        if self._instrument_listener is not None:
            self._instrument_listener.close()
            self._instrument_listener = None
        event = getattr(self.instrument, "property_changed_event", None)
        if event is not None:
            self._instrument_listener = event.listen(
                lambda name: self._calls.newest("multiframe plan", self._instrument_changed)
            )
        self._instrument_changed()

    def _instrument_changed(self) -> None:
        instrument = self.instrument
        if instrument is not None:
            self._is_following = True
            try:
                if not self.is_current_typed:
                    self.current_pa.value = float(f"{instrument.current_pa:.6g}")
                for name in _BUDGET:
                    getattr(self, name).value = getattr(instrument.ledger.budget, name) or 0.0
            finally:
                self._is_following = False
        self.refresh()

    def read_current(self) -> None:
        """Take the probe current of the instrument again."""
        self.is_current_typed = False
        self._instrument_changed()

    # the plan ---------------------------------------------------------------------------------------------------

    def _edited(self, name: str) -> None:
        if name == "current_pa" and not self._is_following:
            self.is_current_typed = True
        size = self.height_nm.value, self.width_nm.value
        if (
            name in ("height_nm", "width_nm")
            and not self._is_following
            and self.on_size_typed is not None
            and all(size)
        ):
            self.on_size_typed(size)
        self.refresh()

    def _value(self, name: str, factor: float = 1.0) -> Any:
        value = getattr(self, name).value
        return value * factor if factor != 1.0 else value

    @property
    def plan(self) -> multiframe.SeriesPlan:
        """The plan.

        Raises
        ------
        EsteemError
            If a device is missing or a value is impossible; in words.
        """
        source = self.source
        if source is None:
            raise ParameterError("there is no scan device that can visit positions in any order")
        channels, used = detectors.split(self.chosen)
        center, rotation = self.place or self._scan_center(source)
        region = multiframe.fit_region(
            (self._value("height_nm"), self._value("width_nm")), self._value("pixel_size_nm"), center, rotation
        )
        numbers = {
            name: self._value(name)
            for name in (
                "current_pa", "frames", "scan_overhead_s", "write_overhead_s", "subpixels", "seed", "areas",
                "area_gap_nm", "energy_step_ev",
            )
        }  # fmt: skip
        settings = multiframe.SeriesSettings(
            dwell_s=self._value("dwell_us", 1e-6),
            flyback_s=self._value("flyback_us", 1e-6),
            order=multiframe.ORDERS[self._value("order_index")],
            compress=bool(self.compress.value),
            **numbers,
        )
        for camera in used:
            if camera.kind == "frames" and settings.subpixels > 1:
                raise ParameterError(
                    f"{camera.name} has a frame for each place: choose 1 sub-pixel, or do not record it"
                )
            wanted = cameras.camera_parameters(camera, settings.dwell_s / settings.subpixels**2)
            shortest_s = camera.source.validate_frame_parameters(wanted).exposure_ms * 1e-3
            if wanted.exposure_ms * 1e-3 < 0.99 * shortest_s:  # less is rounding
                raise ParameterError(
                    f"the dwell time is {wanted.exposure_ms * 1e3:.4g} µs, but {camera.name} exposes for "
                    f"{shortest_s * 1e6:.4g} µs or longer"
                )
        recorded = [*channels, *used]
        signals = detectors.signals(recorded, region.shape, region.pixel_size_nm, compress=settings.compress)
        plan = multiframe.SeriesPlan(region, settings, signals, detectors.bytes_beside(used, region.shape))
        return self.overheads.counted(plan, len(used))

    @staticmethod
    def _scan_center(source: Any) -> tuple[tuple[float, float], float]:
        field = source.stem_controller.field(source.get_current_frame_parameters())
        return field.center_nm, field.rotation_deg

    @property
    def session(self) -> multiframe.SessionFolder:
        """The session folder."""
        if not (self.folder.value or "").strip():
            raise ParameterError("choose a session folder")
        return multiframe.SessionFolder((self.folder.value or "").strip())

    def set_region(self, size_nm: tuple[float, float], center_nm: tuple[float, float], rotation_deg: float) -> None:
        """Take a drawn region over."""
        self.place = (center_nm, rotation_deg)
        self._is_following = True
        try:
            self.height_nm.value, self.width_nm.value = (float(f"{value:.6g}") for value in size_nm)
        finally:
            self._is_following = False
        self.refresh()

    def refresh(self) -> None:
        """Make the figures anew, in a thread."""
        try:
            plan, ledger, xrays, problem = self.plan, self.instrument.ledger, tuple[str, ...](), ""
            beside = overheads_in_words(
                plan,
                (self.scan_overhead_s.value, self.overheads.begin.frames),
                (self.write_overhead_s.value, self.overheads.write.frames),
            )
            try:
                lines = multiframe.lines_from_words(self.xray_lines.value or "")
                xrays = multiframe.xrays_in_words(plan, lines, self._value("motifs"))
            except EsteemError as error:
                problem = sentence(error)  # all other figures are right
        except Exception as error:  # a device may go away at any moment
            self._worker.drop()
            self._show(Report(error=sentence(error)))
            return

        def work() -> Report:
            return Report(
                (*multiframe.figures_in_words(plan), beside),
                xrays or ((problem,) if problem else ()),
                multiframe.spent_in_words(ledger, plan.region),
                plan.exceeded(ledger),
            )

        self._worker.submit(work, self._show)

    @property
    def is_busy(self) -> bool:
        """Whether new figures are on their way."""
        return self._worker.is_busy

    def _show(self, found: Report | Exception) -> None:
        if isinstance(found, Exception):
            found = Report(error=sentence(found))
        self.report = found
        overridden = self.is_overridden
        self.figures.value = "\n".join(found.lines)
        self.xrays.value = "\n".join(found.xrays)
        self.so_far.value = found.so_far
        self.is_too_much.value = bool(found.exceeded) and not overridden
        words = found.error
        if found.exceeded:
            end = "overridden" if overridden else "give a reason and override it, or change the plan"
            words = f"Budget: {'; '.join(found.exceeded)} ({end})"
        self.warning.value = words
        self.changed_event.fire()

    # budget -----------------------------------------------------------------------------------------------------

    @property
    def is_overridden(self) -> bool:
        """Whether the user goes beyond the present budget."""
        return self.instrument is not None and bool(self.instrument.is_budget_overridden)

    def check(self, plan: multiframe.SeriesPlan) -> None:
        """Raise if the budget forbids a plan.

        Raises
        ------
        ParameterError
            With what would be exceeded.
        """
        exceeded = plan.exceeded(self.instrument.ledger)
        if exceeded and not self.is_overridden:
            raise ParameterError(f"the dose budget forbids it: {'; '.join(exceeded)}; override it with a reason")

    def override(self) -> None:
        """Go beyond the present budget; the reason is recorded in the ledger and with the frames."""
        if self.instrument is not None:
            reason = self.override_reason.value or ""
            try:
                self.instrument.override_budget(reason, self.report.exceeded)
            except EsteemError as error:
                self.warning.value = str(error)
                return
            self.refresh()

    def _set_budget(self) -> None:
        instrument = self.instrument
        if instrument is None or self._is_following:
            return
        values = {name: getattr(self, name).value for name in _BUDGET}
        instrument.ledger.budget = scan.DoseBudget(**{name: value or None for name, value in values.items()})
        self.refresh()
