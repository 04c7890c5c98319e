"""Bring the instrument into Nion Swift, and take it out again."""

from __future__ import annotations

from typing import Any

from nion.device_kit import CameraDevice
from nion.instrumentation import HardwareSource, scan_base
from nion.utils import Registry

from esteem_sim.camera import OneBitCamera, camera_settings
from esteem_sim.instrument import Instrument
from esteem_sim.scan_device import ScanDevice
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

CAMERA_ID = "esteem_one_bit_camera"
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
    """Instrument, scan device and camera, and their registration.

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
    scan_module, camera_module
        What Nion's registry gets.
    """

    def __init__(self, instrument: Instrument | None = None, *, configuration_location: str = "") -> None:
        self.configuration_location = configuration_location
        self.instrument = Instrument() if instrument is None else instrument
        self.instrument_id = str(self.instrument.instrument_id)
        self.camera = OneBitCamera(CAMERA_ID, "Esteem One-Bit Camera", self.instrument)
        self.scan_module = ScanModule(self.instrument.scan_device, self.instrument_id)
        settings = camera_settings(CAMERA_ID)
        self.camera_module = CameraDevice.CameraModule(self.instrument_id, self.camera, settings)  # type: ignore[arg-type]
        self.camera_module.priority = PRIORITY
        # the names that Nion's test context asks for
        self.ronchigram_camera_device_id = self.eels_camera_device_id = CAMERA_ID
        self.ronchigram_camera_device = self.eels_camera_device = self.camera
        self.ronchigram_camera_settings = self.eels_camera_settings = settings
        self._is_running = False

    @property
    def scan_source(self) -> Any:
        """Nion's hardware source of the scan device; None while not registered."""
        return self.scan_module.hardware_source

    @property
    def camera_source(self) -> Any:
        """Nion's hardware source of the camera; None while not registered."""
        return getattr(self.camera_module, "hardware_source", None)

    def run(self) -> None:
        """Register instrument, camera and scan device, in this order."""
        Registry.register_component(self.instrument, {"instrument_controller", "stem_controller"})
        Registry.register_component(self.camera_module, {"camera_module"})
        Registry.register_component(self.scan_module, {"scan_module"})
        self._is_running = True
        # beside another instrument Nion hands out any scan device and camera: pin ours
        if self.scan_source is not None:
            self.instrument.set_scan_controller(self.scan_source)
        if self.camera_source is not None:
            self.instrument.set_ronchigram_camera(self.camera_source)

    def stop(self) -> None:
        """Undo `run`, safe to call again."""
        if not self._is_running:
            return
        self._is_running = False
        self.instrument.safe_state("the simulator is removed")
        self.instrument.set_scan_controller(None)
        self.instrument.set_ronchigram_camera(None)
        Registry.unregister_component(self.camera_module, {"camera_module"})
        Registry.unregister_component(self.scan_module, {"scan_module"})
        Registry.unregister_component(self.instrument, {"instrument_controller", "stem_controller"})
        self.instrument.close()
