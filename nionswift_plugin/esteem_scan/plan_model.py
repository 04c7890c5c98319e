"""The plan as the user types it: linked values, and what they cost."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nion.instrumentation import HardwareSource
from nion.utils import Event, Model

from esteemcore import scan
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.event_loop import NewestFirst, UserInterfaceCalls
from nionswift_plugin.esteem_scan.plan import DoseReport, Plan, report
from nionswift_plugin.esteem_scan.scan_plan import PATTERNS, ScanPlan
from nionswift_plugin.esteem_scan.words import sentence

METHODS = ("uniform", "jittered", "poisson_disk", "line_hop")
"""How a sparse scan chooses positions."""
AT_ONCE = 2**20
"""Positions whose order is made in an instant."""

_INPUTS = (
    "scan_index", "camera_index", "pattern_index", "seed", "fraction", "method_index", "rows", "columns", "fov_nm",
    "dwell_us", "frames", "wished_dose",
)  # fmt: skip


class PlanModel:
    """Values of the plan, each a property model, to be used on the thread of the user interface.

    Attributes
    ----------
    rows, columns, fov_nm, step_nm, dwell_us, rate, frames, seed, fraction, pattern_index, method_index : PropertyModel
        The plan. Field of view and step, dwell time and frame rate follow each other.
    scan_index, camera_index : PropertyModel
        Numbers in `scan_sources` and `camera_sources`; `scan_names` and `camera_names` for the combo boxes.
    wished_dose, budget, override_reason : PropertyModel
        In e/Å², 0 for none; the reason in words.
    planned, so_far, needed, warning : PropertyModel
        What follows, in words.
    is_sparse, is_too_much : PropertyModel
        Whether the settings of sparse scans have a meaning, and whether the budget is exceeded and not overridden.
    changed_event : Event
        Fired when the report has been made anew.
    """

    def __init__(self, calls: UserInterfaceCalls) -> None:
        self._calls = calls
        self._worker = NewestFirst(calls, "esteem-plan")
        self.changed_event = Event.Event()
        self.report = DoseReport()
        self.scan_sources: list[Any] = []
        self.camera_sources: list[Any] = []
        self.scan_names = Model.PropertyModel[list[str]]([])
        self.camera_names = Model.PropertyModel[list[str]]([])
        self.scan_index = Model.PropertyModel(0)
        self.camera_index = Model.PropertyModel(0)
        self.pattern_index = Model.PropertyModel(PATTERNS.index("shuffled"))
        self.seed = Model.PropertyModel(1)
        self.fraction = Model.PropertyModel(0.25)
        self.method_index = Model.PropertyModel(METHODS.index("poisson_disk"))
        self.rows = Model.PropertyModel(256)
        self.columns = Model.PropertyModel(256)
        self.fov_nm = Model.PropertyModel(7.68)
        self.step_nm = Model.PropertyModel(0.03)
        self.dwell_us = Model.PropertyModel(80.0)
        self.rate = Model.PropertyModel(12500.0)
        self.frames = Model.PropertyModel(1)
        self.wished_dose = Model.PropertyModel(0.0)
        self.budget = Model.PropertyModel(0.0)
        self.override_reason = Model.PropertyModel("")
        self.is_sparse = Model.PropertyModel(False)
        self.is_too_much = Model.PropertyModel(False)
        self.planned = Model.PropertyModel("")
        self.so_far = Model.PropertyModel("")
        self.needed = Model.PropertyModel("")
        self.warning = Model.PropertyModel("")
        self._is_linking = False
        self._worked_out: tuple[ScanPlan, tuple[int, int]] | None = None
        self._instrument_listener: Any = None
        self._link(self.fov_nm, self.step_nm, lambda: (self.fov_nm.value or 0.0) / max(self._longest, 1))
        self._link(self.step_nm, self.fov_nm, lambda: (self.step_nm.value or 0.0) * self._longest)
        for size in (self.rows, self.columns):
            self._link(size, self.step_nm, lambda: (self.fov_nm.value or 0.0) / max(self._longest, 1))
        for one, other in ((self.dwell_us, self.rate), (self.rate, self.dwell_us)):
            self._link(one, other, functools.partial(_period, one))
        for name in _INPUTS:
            self._on_change(getattr(self, name), self.refresh)
        self._on_change(self.pattern_index, self._show_sparse)
        self._on_change(self.scan_index, self._listen_to_instrument)
        self._on_change(self.budget, self._set_budget)
        manager = HardwareSource.HardwareSourceManager()
        self._device_listeners = [
            event.listen(lambda source: calls.newest("devices", self.find_devices))
            for event in (manager.hardware_source_added_event, manager.hardware_source_removed_event)
        ]
        self.find_devices()

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
        """Look into the registry again, keeping the choice where it is still there."""
        before = self.scan_source, self.camera_source
        self.scan_sources, self.camera_sources = devices.scan_devices(), devices.cameras()
        self.scan_names.value = [source.display_name for source in self.scan_sources]
        self.camera_names.value = [source.display_name for source in self.camera_sources]
        self.scan_index.value = _position(self.scan_sources, before[0])
        self.camera_index.value = _position(self.camera_sources, before[1])
        self._listen_to_instrument()
        instrument = self.instrument
        if instrument is not None and instrument.ledger.budget.total_dose is not None:
            self.budget.value = instrument.ledger.budget.total_dose
        self.refresh()

    @property
    def scan_source(self) -> Any:
        """The chosen scan device; None if there is none."""
        return _chosen(self.scan_sources, self.scan_index.value)

    @property
    def camera_source(self) -> Any:
        """The chosen camera; None if there is none."""
        return _chosen(self.camera_sources, self.camera_index.value)

    @property
    def instrument(self) -> devices.FreeOrderInstrument | None:
        """The instrument of the scan device."""
        source = self.scan_source
        return source.stem_controller if source is not None else None

    def _listen_to_instrument(self) -> None:
        if self._instrument_listener is not None:
            self._instrument_listener.close()
            self._instrument_listener = None
        event = getattr(self.instrument, "property_changed_event", None)
        if event is not None:
            self._instrument_listener = event.listen(lambda name: self._calls.newest("plan", self.refresh))

    # the plan ---------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan.

        Raises
        ------
        ParameterError
            If a device is missing or a value is impossible; in words.
        """
        if self.scan_source is None:
            raise ParameterError("there is no scan device that can visit positions in any order")
        if self.camera_source is None:
            raise ParameterError("there is no camera that gives packed one-bit frames")
        pattern = PATTERNS[self.pattern_index.value or 0]
        sparse = pattern == "sparse"
        order = ScanPlan(
            pattern,
            seed=self.seed.value or 0,
            fraction=(self.fraction.value or 0.0) if sparse else 1.0,
            method=METHODS[self.method_index.value or 0],
            blank="frames",
        )
        return Plan(
            self.scan_source,
            self.camera_source,
            order,
            (self.rows.value or 0, self.columns.value or 0),
            self.fov_nm.value or 0.0,
            (self.dwell_us.value or 0.0) * 1e-6,
            self.frames.value or 0,
        )

    def _is_worked_out(self, plan: Plan) -> bool:
        """Return whether the order of a plan is known, or is so in an instant."""
        return plan.shape[0] * plan.shape[1] <= AT_ONCE or self._worked_out == (plan.order, plan.shape)

    def _show_sparse(self) -> None:
        self.is_sparse.value = PATTERNS[self.pattern_index.value or 0] == "sparse"

    def refresh(self) -> None:
        """Make the report anew, in a thread."""
        try:
            plan = self.plan
        except Exception as error:  # a device may go away at any moment
            self._worker.drop()
            self._show(DoseReport(error=sentence(error)))
            return
        wished = self.wished_dose.value or 0.0
        if not self._is_worked_out(plan):
            self.warning.value = f"Working out the order of {plan.shape[0] * plan.shape[1]:,} positions"
        elif self.report.error:
            self.warning.value = ""

        def done(found: DoseReport | Exception) -> None:
            self._worked_out = (plan.order, plan.shape)
            self._show(found)

        self._worker.submit(lambda: report(plan, wished), done)

    @property
    def is_busy(self) -> bool:
        """Whether a new report is on its way."""
        return self._worker.is_busy

    def _show(self, found: DoseReport | Exception) -> None:
        if isinstance(found, Exception):
            found = DoseReport(error=sentence(found))
        self.report = found
        self.planned.value, self.so_far.value, self.needed.value = found.planned, found.so_far, found.needed
        self.is_too_much.value = bool(found.exceeded) and not self.is_overridden
        if found.error:
            self.warning.value = found.error
        elif found.exceeded:
            end = "overridden" if self.is_overridden else "give a reason and override it, or change the plan"
            self.warning.value = f"Budget: {'; '.join(found.exceeded)} ({end})"
        else:
            self.warning.value = ""
        self.changed_event.fire()

    # budget -----------------------------------------------------------------------------------------------------

    @property
    def is_overridden(self) -> bool:
        """Whether the user goes beyond the present budget."""
        instrument = self.instrument
        return instrument is not None and instrument.is_budget_overridden

    def check(self, plan: Plan) -> None:
        """Raise if a plan may not be acquired.

        Raises
        ------
        ParameterError
            With what would be exceeded; or if a large plan is still being worked out, for which no window can wait.
        """
        if not self._is_worked_out(plan):
            size = plan.shape[0] * plan.shape[1]
            raise ParameterError(f"the order of {size:,} positions is still being worked out; try again in a moment")
        exceeded = plan.exceeded()
        if exceeded and not self.is_overridden:
            raise ParameterError(f"the dose budget forbids it: {'; '.join(exceeded)}; override it with a reason")

    def override(self) -> None:
        """Go beyond the present budget; the reason is recorded in the ledger.

        Raises
        ------
        ParameterError
            Without a reason.
        """
        instrument = self.instrument
        if instrument is not None:
            instrument.override_budget(self.override_reason.value or "", self.report.exceeded)
            self.refresh()

    def use_needed_current(self) -> None:
        """Set the beam current that the wished dose needs."""
        if self.report.needed_pa is not None and self.scan_source is not None:
            self.scan_source.stem_controller.SetVal("BeamCurrent", self.report.needed_pa * 1e-12)
            self.refresh()

    def _set_budget(self) -> None:
        instrument, total = self.instrument, self.budget.value
        if instrument is not None:
            ledger = instrument.ledger
            if total is None or total < 0:  # a slip of the keyboard lifts no limit
                self.budget.value = ledger.budget.total_dose or 0.0
                return
            limits = {"dose_rate": ledger.budget.dose_rate, "pixel_charge_e": ledger.budget.pixel_charge_e}
            ledger.budget = scan.DoseBudget(total if total > 0 else None, **limits)
            self.refresh()

    # links ------------------------------------------------------------------------------------------------------

    @property
    def _longest(self) -> int:
        return max(self.rows.value or 0, self.columns.value or 0)

    @staticmethod
    def _on_change(model: Any, call: Callable[[], None]) -> None:
        before = model.on_value_changed

        def changed(value: Any) -> None:
            if before is not None:
                before(value)
            call()

        model.on_value_changed = changed

    def _link(self, one: Any, other: Any, value: Callable[[], float]) -> None:
        def follow() -> None:
            if not self._is_linking:
                self._is_linking = True
                try:
                    other.value = float(f"{value():.6g}")
                finally:
                    self._is_linking = False

        self._on_change(one, follow)


def _period(model: Any) -> float:
    """Return the dwell time in µs for a frame rate in 1/s, or the other way round; 0 on the way to a number."""
    return 1e6 / model.value if model.value and model.value > 0 else 0.0


def _chosen(sources: list[Any], index: int | None) -> Any:
    return sources[index] if index is not None and 0 <= index < len(sources) else None


def _position(sources: list[Any], source: Any) -> int:
    return sources.index(source) if source in sources else 0
