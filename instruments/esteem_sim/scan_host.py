"""What the scan device needs of its instrument."""

from __future__ import annotations

from typing import Protocol

from esteem_sim.beam_gate import BeamGate
from esteem_sim.faults import Faults
from esteem_sim.motion import Motion
from esteem_sim.scan_field import Pair
from esteem_sim.scan_frame import ScanFrame
from esteem_sim.specimen_stage import SpecimenStage


class ScanHost(Protocol):
    """What the scan device needs of its instrument."""

    stage: SpecimenStage
    motion: Motion
    gate: BeamGate
    faults: Faults
    instrument_id: str

    @property
    def current_pa(self) -> float:
        """Beam current in pA."""

    @property
    def origin_nm(self) -> Pair:
        """Place on the specimen of an undeflected beam."""

    def prepare_scene(self) -> None:
        """Start computing what the detectors will see."""

    def kind_of(self, default: str) -> str:
        """Return what an exposure is for."""

    def authorize(self, frame: ScanFrame) -> None:
        """Raise if the dose budget forbids the frame."""

    def charge_frame(self, frame: ScanFrame) -> None:
        """Enter into the ledger what a frame has exposed."""

    def safe_state(self, reason: str = "") -> object:
        """Blank or park the beam."""
