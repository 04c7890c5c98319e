"""What the instrument keeps account of: each exposure of the specimen, and the budget."""

from __future__ import annotations

import abc
import time

from nion.utils import Event

from esteem_sim.beam_gate import BeamGate
from esteem_sim.motion import Motion
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_frame import ScanFrame
from esteem_sim.specimen_stage import SpecimenStage
from esteemcore import scan
from esteemcore.errors import StreamError

PROBE_NM = 0.1
"""Side of the square over which the charge of a resting beam is spread in the ledger."""


class DoseAccount(abc.ABC):
    """The part of the instrument that charges and authorizes.

    The ledger is kept in the coordinates that the instrument knows; harm is done where the beam really is.
    """

    gate: BeamGate
    scan_device: ScanDevice
    stage: SpecimenStage
    motion: Motion
    property_changed_event: Event.Event
    _ledger: scan.DoseLedger
    _purpose: str | None
    _overridden_budget: scan.DoseBudget | None

    @property
    @abc.abstractmethod
    def current_pa(self) -> float:
        """Beam current in pA."""

    @abc.abstractmethod
    def safe_state(self, reason: str = "end") -> object:
        """Stop scanning and blank the beam."""

    @property
    def ledger(self) -> scan.DoseLedger:
        """The account of every exposure of the specimen, up to now."""
        self.gate.settle()
        return self._ledger

    @ledger.setter
    def ledger(self, ledger: scan.DoseLedger) -> None:
        self.gate.settle()
        self._ledger = ledger

    def kind_of(self, default: str) -> str:
        """Return what an exposure is for: what `acquiring` says, or a default."""
        return self._purpose or default

    def authorize(self, frame: ScanFrame) -> None:
        """Raise if the budget forbids a frame and the user has not overridden it.

        Raises
        ------
        StreamError
            With what would be exceeded.
        """
        ledger = self._ledger
        if frame.exposure is None or self.gate.is_shut or ledger.budget == scan.DoseBudget():
            return
        if self.is_budget_overridden:
            return
        exceeded = ledger.check(frame.exposure, frame.field.center_nm, frame.field.rotation_deg)
        if exceeded:
            self.safe_state("budget")
            raise StreamError(f"the dose budget forbids this scan: {'; '.join(exceeded)}; override it with a reason")

    def authorize_parked(self) -> None:
        """Raise if the place where the beam is parked has had its dose, and the user has not overridden the budget.

        Raises
        ------
        StreamError
            With the dose so far.
        """
        budget = self._ledger.budget
        if budget.total_dose is None or self.gate.is_shut or self.is_budget_overridden:
            return
        dose = self.ledger.dose_at(self.scan_device.probe_place_nm, (PROBE_NM, PROBE_NM))[1]
        if dose > budget.total_dose:
            self.safe_state("budget")
            raise StreamError(
                f"the dose budget forbids to rest the beam here: {dose:.3g} e/Å² so far, the budget is "
                f"{budget.total_dose:.3g} e/Å²; override it with a reason"
            )

    @property
    def is_budget_overridden(self) -> bool:
        """Whether the user goes beyond the present budget; False again as soon as the budget is another."""
        return self._overridden_budget == self._ledger.budget

    def override_budget(self, reason: str, exceeded: tuple[str, ...] = ()) -> None:
        """Let scans go on beyond the present budget, and record why."""
        self._ledger.override(exceeded, reason)
        self._overridden_budget = self._ledger.budget
        self.property_changed_event.fire("is_budget_overridden")

    def charge_frame(self, frame: ScanFrame) -> None:
        """Enter into the ledger what a frame has exposed."""
        if frame.exposure is None:
            return
        visits, elapsed_s = frame.exposed()
        if elapsed_s <= 0:
            return
        spoiled = frame.state != "complete" and frame.kind != "live view"
        self._ledger.add_exposure(
            frame.exposure,
            frame.field.center_nm,
            rotation_deg=frame.field.rotation_deg,
            visits=visits,
            elapsed_s=elapsed_s,
            kind="spoiled" if spoiled else frame.kind,
            note=f"{frame.kind}, {frame.state}" if spoiled else "",
        )
        self.property_changed_event.fire("ledger")

    def _charge_parked(self, kind: str, seconds: float) -> None:
        charge = scan.charge_e(max(0.0, self.current_pa), seconds)
        if charge > 0:
            if self.stage.suffered is not None:
                began = time.monotonic() - seconds
                place = self.scan_device.probe_place_nm + self.motion.drift_nm([began])
                self.stage.suffered.expose(place, charge, seconds, began)
            self._ledger.add(
                charge,
                self.scan_device.probe_place_nm,
                (PROBE_NM, PROBE_NM),
                kind=self.kind_of(kind),
                duration_s=seconds,
            )
            self.property_changed_event.fire("ledger")
