"""The simulated STEM: optics, specimen, beam blanker and dose ledger behind Nion's instrument interface."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from nion.device_kit import InstrumentDevice
from nion.instrumentation import HardwareSource, scan_base

from esteem_sim import optics, specimen_controls, spectrometer
from esteem_sim.beam_gate import BeamGate, Rest
from esteem_sim.controls import OPTICS, Controls, PlainAxes
from esteem_sim.dose_account import DoseAccount
from esteem_sim.faults import Faults
from esteem_sim.motion import Motion
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_field import Pair, ScanField, field_of
from esteem_sim.specimen_stage import SpecimenStage
from esteemcore import fourd, scan, simulate
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

INSTRUMENT_ID = "esteem_stem_controller"

_BLANKER = "C_Blank"
_logger = logging.getLogger("esteem_sim")


@dataclasses.dataclass(frozen=True)
class SafeState:
    """How the instrument was left.

    Attributes
    ----------
    is_blanked : bool
        Whether the beam is off the specimen; False only where the user chose to park it.
    is_scanning : bool
        False.
    reason : str
        What made it safe: the end, an abort, an error, the budget.
    time : str
        When, ISO 8601.
    """

    is_blanked: bool
    is_scanning: bool
    reason: str
    time: str


class Instrument(DoseAccount, InstrumentDevice.Instrument):
    """A probe-corrected STEM with a specimen, as far as scan device and camera can tell.

    Parameters
    ----------
    instrument_id : str
        Identifier in Nion's registry.
    specimen : str
        One of `esteemcore.simulate.COMPOSITIONS`.
    thickness_nm : float, optional
        Thickness of the specimen in nm.
    ledger : DoseLedger, optional
        The account of the specimen; a new one by default.
    scene_options : dict, optional
        See `SpecimenStage`.

    Attributes
    ----------
    controls : Controls
        All knobs, in SI units.
    stage : SpecimenStage
        The specimen, its diffraction patterns, and what it has suffered.
    motion : Motion
        Drift, scan jitter and drift of the spectrum, with their truth.
    gate : BeamGate
        The beam blanker and its users.
    faults : Faults
        For tests.
    """

    def __init__(
        self,
        instrument_id: str = INSTRUMENT_ID,
        *,
        specimen: str = "zeolite",
        thickness_nm: float | None = None,
        ledger: scan.DoseLedger | None = None,
        scene_options: dict[str, Any] | None = None,
    ) -> None:
        self.controls = Controls()
        self.motion = Motion(self.controls)
        super().__init__(instrument_id, self.controls, PlainAxes())
        self.priority = 10
        self.stage = SpecimenStage(specimen, thickness_nm, scene_options)
        self.gate = BeamGate(self._charge_parked)
        self.faults = Faults()
        self.scan_device = ScanDevice("esteem_scan", "Esteem Scan", self)
        self.last_safe_state = SafeState(True, False, "start", _now())
        self._ledger = ledger if ledger is not None else scan.DoseLedger()
        self._purpose: str | None = None
        self._overridden_budget: scan.DoseBudget | None = None
        self.controls.add_special(_BLANKER, lambda: float(self.is_blanked), lambda value: self.gate.shut(value != 0.0))
        specimen_controls.add(self.controls, self.stage)
        self.controls.about_to_change = lambda name: self.gate.settle()
        self._listener = self.controls.changed_event.listen(self._control_changed)

    def close(self) -> None:
        """Leave the beam off and stop the computation."""
        self.gate.rest = "blanked"
        self.safe_state("closed")
        self._listener.close()
        self.stage.close()
        super().close()

    # optics and specimen ----------------------------------------------------------------------------------------

    @property
    def beam(self) -> simulate.Beam:
        """The probe for the present controls."""
        return optics.beam(self.controls)

    @property
    def detector(self) -> simulate.Detector:
        """Pixels and angles of the camera."""
        return optics.detector(self.controls)

    @property
    def current_pa(self) -> float:
        """Beam current in pA."""
        return optics.value(self.controls, "BeamCurrent") * 1e12

    @property
    def origin_nm(self) -> Pair:
        """Place on the specimen of an undeflected beam, (row, column) in nm: beam shift less stage position."""
        shift, stage = self.controls.get_value_2d("CSH"), self.controls.get_value_2d("stage_position_m")
        return (shift.y - stage.y) * 1e9, (shift.x - stage.x) * 1e9

    def prepare_scene(self) -> None:
        """Start computing what the detectors will see, if that is not known yet; returns at once."""
        self.stage.illuminate(self.beam)

    def _control_changed(self, name: str) -> None:
        self.motion.control_changed(name)
        self.property_changed_event.fire(name)
        if name.split(".")[0] in OPTICS and self.stage.is_in_use:
            try:
                self.prepare_scene()
            except ParameterError as error:
                _logger.warning("%s", error)

    def geometry(self, parameters: scan_base.ScanFrameParameters) -> fourd.Geometry:
        """Return the calibrations of a 4D-STEM scan with these parameters."""
        beam, detector = self.beam, self.detector
        field = self.field(parameters)
        return fourd.Geometry(
            scan_step_nm=field.step_nm,
            beam_energy_kev=beam.energy_kev,
            semiangle_mrad=beam.semiangle_mrad,
            pixel_mrad=detector.pixel_mrad,
            center=detector.center,
            rotation_deg=field.rotation_deg,
            flip=detector.flip,
            aberrations=dict(beam.aberrations),
        )

    def field(self, parameters: scan_base.ScanFrameParameters) -> ScanField:
        """Return where on the specimen a scan with these parameters goes."""
        return field_of(parameters, self.origin_nm)

    def exposure(
        self, parameters: scan_base.ScanFrameParameters, *, dwell_s: float | None = None, frames: int = 1
    ) -> scan.Exposure:
        """Return what an acquisition with these parameters would expose, for `DoseLedger.check`.

        Parameters
        ----------
        parameters : ScanFrameParameters
        dwell_s : float, optional
            Exposure of the camera, if it drives the scan. Default: the dwell time of the parameters.
        frames : int
            Number of frames.
        """
        plan = ScanPlan.of(parameters)
        size = parameters.scan_size
        pattern = plan.visits((size.height, size.width))
        return scan.Exposure(
            self.current_pa,
            parameters.pixel_time_us * 1e-6 if dwell_s is None else dwell_s,
            self.field(parameters).step_nm,
            pattern.shape,
            frames=frames,
            flyback_s=plan.flyback_us * 1e-6,
            settle_s=plan.settle_us * 1e-6,
            pattern=pattern,
            blanked=plan.blank == "positions",
        )

    # blanker and safe state -------------------------------------------------------------------------------------

    @property
    def is_blanked(self) -> bool:
        """Whether no electron reaches the specimen."""
        return self.gate.is_blanked

    @is_blanked.setter
    def is_blanked(self, shut: bool) -> None:
        """Shut the blanker by hand (True), or leave it to the acquisitions (False)."""
        self.gate.shut(shut)
        self.property_changed_event.fire("is_blanked")

    @property
    def rest(self) -> Rest:
        """Where the beam is when nothing needs it: ``"blanked"`` (default) or ``"parked"`` on the specimen."""
        return self.gate.rest

    @rest.setter
    def rest(self, rest: Rest) -> None:
        self.gate.rest = rest
        self.property_changed_event.fire("rest")

    def safe_state(self, reason: str = "end") -> SafeState:
        """Stop scanning and blank the beam, or park it if the user chose so; safe to call at any time.

        A synchronized acquisition that is being prepared does not begin.

        Parameters
        ----------
        reason : str
            Why, for the record.
        """
        self.scan_device.preparation.refuse(reason)
        self.scan_device.cancel()
        self.gate.release()
        self.last_safe_state = SafeState(self.is_blanked, self.scan_device.is_scanning, reason, _now())
        self.property_changed_event.fire("is_blanked")
        return self.last_safe_state

    @contextlib.contextmanager
    def acquiring(self, kind: str = "acquisition") -> Iterator[None]:
        """Put an acquisition between a beginning and a safe end.

        Whatever happens inside, the instrument ends in its safe state with the controls and scan parameters of before.

        Parameters
        ----------
        kind : str
            What the exposures inside are for, in the words of the dose ledger: ``"acquisition"``, ``"survey"``,
            ``"focusing"``, ...
        """
        controls, purpose = self.controls.snapshot(), self._purpose
        scanning = self.scan_controller
        parameters = scanning.get_current_frame_parameters() if scanning is not None else None
        self._purpose = kind
        reason = "end"
        try:
            yield
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.safe_state(reason)
            self._purpose = purpose
            self.controls.restore(controls)
            if scanning is not None and parameters is not None:
                now = scanning.get_current_frame_parameters()
                if now.as_dict() != parameters.as_dict():
                    scanning.set_current_frame_parameters(parameters)

    def _enter_synchronized_state(
        self,
        scan_controller: HardwareSource.HardwareSource,
        *,
        camera: HardwareSource.HardwareSource | None = None,
    ) -> None:
        super()._enter_synchronized_state(scan_controller, camera=camera)
        self.scan_device.driver_id = None if camera is None else camera.hardware_source_id
        self.scan_device.preparation.enter()

    def _exit_synchronized_state(
        self,
        scan_controller: HardwareSource.HardwareSource,
        *,
        camera: HardwareSource.HardwareSource | None = None,
    ) -> None:
        super()._exit_synchronized_state(scan_controller, camera=camera)
        self.safe_state("end of a synchronized acquisition")
        self.scan_device.driver_id = None
        self.scan_device.preparation.leave()

    # what Nion asks for -----------------------------------------------------------------------------------------

    def camera_sensor_dimensions(self, camera_type: str) -> tuple[int, int]:
        """Return the pixels (rows, columns) of a camera."""
        if camera_type == "eels":
            return spectrometer.EELS_SHAPE
        return (1, spectrometer.EDS_CHANNELS) if camera_type == "eds" else optics.FRAME_SHAPE

    def camera_readout_area(self, camera_type: str) -> tuple[int, int, int, int]:
        """Return the whole camera."""
        return (0, 0, *self.camera_sensor_dimensions(camera_type))

    @property
    def counts_per_electron(self) -> int:
        """One electron, one count."""
        return 1

    def get_autostem_properties(self) -> Mapping[str, Any]:
        """Return what is recorded with every image."""
        return {
            "high_tension": self.voltage,
            "defocus": self.defocus_m,
            "convergence_semi_angle_mrad": optics.value(self.controls, "ConvergenceAngle") * 1e3,
            "beam_current_pa": self.current_pa,
            "aberrations_nm": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in optics.aberrations_nm(self.controls).items()
            },
            "collection_semi_angle_mrad": optics.value(self.controls, "EELS_CollectionAngle") * 1e3,
            "eels_efficiency": spectrometer.eels_efficiency(self.controls),
            "eds_solid_angle_sr": spectrometer.eds_detector(self.controls).solid_angle_sr,
            "specimen": self.stage.sample.name,
            "is_damaging": self.stage.damage is not None,
            "simulated": True,
        }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
