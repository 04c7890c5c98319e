"""Which scan devices and cameras can be used: found in Nion's registry, by their id."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from nion.instrumentation import scan_base
from nion.utils import Registry

from esteemcore import fourd, scan

SCAN_ID, CAMERA_ID = "esteem_scan", "esteem_one_bit_camera"
"""The devices that are chosen at first, where they are present."""
PACKED = "packed"
"""Camera parameter that asks for one-bit frames, eight pixels in a byte."""


@runtime_checkable
class FreeOrderInstrument(Protocol):
    """What an instrument must offer so that its scan device qualifies, beside Nion's own interface.

    All of it is needed. What is charged to `ledger` are the instrument's own exposures, live views included; the
    panels only look. If the instrument has a ``property_changed_event``, as Nion's have, the panels follow it: fire it
    when current, ledger, budget or its override change. An instrument whose scan needs preparation may offer
    ``prepare_scene()`` and ``stage`` (``current``: None as long as it is not ready, ``status``: why, in words), on
    which an acquisition waits before its first frame.
    """

    @property
    def current_pa(self) -> float:
        """Beam current in pA."""

    @property
    def ledger(self) -> scan.DoseLedger:
        """The account of every exposure, and the budget, which the panels set."""

    @property
    def is_budget_overridden(self) -> bool:
        """Whether the user goes beyond the present budget; False again as soon as the budget is another."""

    def geometry(self, parameters: scan_base.ScanFrameParameters) -> fourd.Geometry:
        """Return the calibrations of a scan."""

    def field(self, parameters: scan_base.ScanFrameParameters) -> Any:
        """Return where a scan goes on the specimen.

        It has ``center_nm``, ``fov_nm`` and ``step_nm``, pairs (row, column), and ``rotation_deg``, as `DoseLedger.add`
        takes them.
        """

    def exposure(
        self, parameters: scan_base.ScanFrameParameters, *, dwell_s: float | None = None, frames: int = 1
    ) -> scan.Exposure:
        """Return what a scan would expose."""

    def acquiring(self, kind: str = "acquisition") -> AbstractContextManager[None]:
        """Put an acquisition between a beginning and a safe end."""

    def safe_state(self, reason: str = "end") -> Any:
        """Stop scanning and blank the beam; a synchronized acquisition that is being prepared does not begin."""

    def override_budget(self, reason: str, exceeded: tuple[str, ...] = ()) -> None:
        """Go on beyond the present budget, and record why."""

    def SetVal(self, s: str, val: float) -> bool:  # noqa: N802
        """Set a control in SI units, as in Nion's interface; the panels set ``"BeamCurrent"`` in A."""

    def get_autostem_properties(self) -> Mapping[str, Any]:
        """Return what is recorded with every image."""


def scan_devices() -> list[Any]:
    """Return Nion's hardware sources of the scan devices whose instrument qualifies, ours first."""
    found = Registry.get_components_by_type("scan_hardware_source")
    return _ours_first([s for s in found if isinstance(s.stem_controller, FreeOrderInstrument)], SCAN_ID)


def cameras() -> list[Any]:
    """Return Nion's hardware sources of the cameras that give packed one-bit frames, ours first."""
    found = Registry.get_components_by_type("camera_hardware_source")
    return _ours_first([camera for camera in found if packed_shape(camera) is not None], CAMERA_ID)


def packed_shape(camera: Any) -> tuple[int, int] | None:
    """Return the detector pixels (ky, kx) of a camera that can pack its frames; None for other cameras."""
    parameters = camera.get_current_frame_parameters()
    parameters.set_parameter(PACKED, False)
    rows, columns = camera.get_expected_dimensions(parameters)
    parameters.set_parameter(PACKED, True)
    packed = tuple(camera.get_expected_dimensions(parameters))
    return (rows, columns) if packed == (rows, -(-columns // 8)) and columns > 1 else None


def _ours_first(sources: list[Any], ours: str) -> list[Any]:
    return sorted(sources, key=lambda source: (source.hardware_source_id != ours, source.display_name))
