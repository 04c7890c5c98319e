"""Bring the instrument into Nion Swift, and take it out again."""

from __future__ import annotations

from typing import Any

from nion.device_kit import CameraDevice
from nion.instrumentation import HardwareSource, scan_base
from nion.utils import Registry

from esteem_sim.camera import OneBitCamera
from esteem_sim.driven_camera import DrivenCamera, camera_settings
from esteem_sim.eds_detector import EdsDetector
from esteem_sim.eels_camera import EelsCamera
from esteem_sim.instrument import Instrument
from esteem_sim.scan_device import ScanDevice
from esteem_sim.spectrometer import EELS_SHAPE
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

CAMERA_ID = "esteem_one_bit_camera"
EELS_ID, EDS_ID = "esteem_eels_camera", "esteem_eds_detector"
PRIORITY = 10
"""Below that of the kit's own simulator, so that ours is only the default where it is alone."""


def scan_parameters(pattern: str = "raster", **values: Any) -> scan_base.ScanFrameParameters:
    """Return scan parameters with a plan of this pattern; the values are Nion's, such as ``fov_nm``."""
    parameters = scan_base.ScanFrameParameters(values)
    ScanPlan(pattern=pattern).put(parameters)
    return parameters


class ScanModule(scan_base.ScanModule):
    """The scan device with its settings, as Nion's registry wants it."""

    def __init__(self, device: ScanDevice, stem_controller_id: str) -> None:
        self.stem_controller_id = stem_controller_id
        self.device = device
        self.priority = PRIORITY
        self.hardware_source: HardwareSource.HardwareSource | None = None
        modes = [
            scan_base.ScanSettingsMode(name, name.lower(), scan_parameters(pixel_size=size, pixel_time_us=us, fov_nm=8))
            for name, size, us in (("Fast", (128, 128), 10), ("Slow", (256, 256), 10), ("Record", (256, 256), 20))
        ]
        self.settings = scan_base.ScanSettings(
            device.scan_device_id, modes, lambda stored: scan_base.ScanFrameParameters(stored), 0, 2
        )


class Configuration:
    """Instrument, scan device and cameras, and their registration.

    It also fits `nion.instrumentation.test.AcquisitionTestContext`.

    Parameters
    ----------
    instrument : Instrument, optional
        A zeolite at 200 kV by default.
    configuration_location : str
        Folder for Nion's settings; only the test context reads it.

    Attributes
    ----------
    instrument : Instrument
    camera : OneBitCamera
    eels : EelsCamera
    eds : EdsDetector
    scan_module, camera_module, eels_module, eds_module
        What Nion's registry gets.
    """

    def __init__(self, instrument: Instrument | None = None, *, configuration_location: str = "") -> None:
        self.configuration_location = configuration_location
        self.instrument = Instrument() if instrument is None else instrument
        self.instrument_id = str(self.instrument.instrument_id)
        self.camera = OneBitCamera(CAMERA_ID, "Esteem One-Bit Camera", self.instrument)
        self.scan_module = ScanModule(self.instrument.scan_device, self.instrument_id)
        self.eels = EelsCamera(EELS_ID, "Esteem EELS Camera", self.instrument)
        self.eds = EdsDetector(EDS_ID, "Esteem EDS Detector", self.instrument)
        self.camera_module = self._module(self.camera)
        self.eels_module = self._module(self.eels, (100.0, 200.0, 500.0), EELS_SHAPE[0])
        self.eds_module = self._module(self.eds, (500.0, 1000.0, 2000.0))
        # the names that Nion's test context asks for
        self.ronchigram_camera_device_id, self.eels_camera_device_id = CAMERA_ID, EELS_ID
        self.ronchigram_camera_device, self.eels_camera_device = self.camera, self.eels
        self.ronchigram_camera_settings = self.camera_module.camera_settings
        self.eels_camera_settings = self.eels_module.camera_settings
        self._is_running = False

    def _module(
        self, camera: DrivenCamera, exposures_ms: tuple[float, ...] = (20.0, 50.0, 200.0), binning: int = 1
    ) -> CameraDevice.CameraModule:
        settings = camera_settings(camera.camera_id, exposures_ms, binning)
        module = CameraDevice.CameraModule(self.instrument_id, camera, settings)  # type: ignore[arg-type]
        module.priority = PRIORITY
        return module

    @property
    def scan_source(self) -> Any:
        """Nion's hardware source of the scan device; None while not registered."""
        return self.scan_module.hardware_source

    @property
    def camera_source(self) -> Any:
        """Nion's hardware source of the camera; None while not registered."""
        return getattr(self.camera_module, "hardware_source", None)

    @property
    def eels_source(self) -> Any:
        """Nion's hardware source of the EELS camera; None while not registered."""
        return getattr(self.eels_module, "hardware_source", None)

    @property
    def eds_source(self) -> Any:
        """Nion's hardware source of the X-ray detector; None while not registered."""
        return getattr(self.eds_module, "hardware_source", None)

    @property
    def _camera_modules(self) -> tuple[CameraDevice.CameraModule, ...]:
        return self.camera_module, self.eels_module, self.eds_module

    def run(self) -> None:
        """Register instrument, cameras and scan device, in this order."""
        Registry.register_component(self.instrument, {"instrument_controller", "stem_controller"})
        for module in self._camera_modules:
            Registry.register_component(module, {"camera_module"})
        Registry.register_component(self.scan_module, {"scan_module"})
        self._is_running = True
        # beside another instrument Nion hands out any scan device and camera: pin ours
        if self.scan_source is not None:
            self.instrument.set_scan_controller(self.scan_source)
        if self.camera_source is not None:
            self.instrument.set_ronchigram_camera(self.camera_source)
        if self.eels_source is not None:
            self.instrument.set_eels_camera(self.eels_source)

    def stop(self) -> None:
        """Undo `run`, safe to call again."""
        if not self._is_running:
            return
        self._is_running = False
        self.instrument.safe_state("the simulator is removed")
        self.instrument.set_scan_controller(None)
        self.instrument.set_ronchigram_camera(None)
        self.instrument.set_eels_camera(None)
        for module in reversed(self._camera_modules):
            Registry.unregister_component(module, {"camera_module"})
        Registry.unregister_component(self.scan_module, {"scan_module"})
        Registry.unregister_component(self.instrument, {"instrument_controller", "stem_controller"})
        self.instrument.close()
