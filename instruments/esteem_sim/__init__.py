"""A simulated STEM for Nion Swift: free visit orders, a one-bit camera, a beam blanker and a dose ledger."""

from esteem_sim.camera import OneBitCamera, is_packed
from esteem_sim.configuration import CAMERA_ID, Configuration, scan_parameters
from esteem_sim.faults import DeviceFaultError, Faults
from esteem_sim.instrument import INSTRUMENT_ID, Instrument, SafeState
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_field import ScanField, field_of
from esteem_sim.specimen_stage import CHANNELS, Scene, SpecimenStage

__all__ = [
    "CAMERA_ID",
    "CHANNELS",
    "INSTRUMENT_ID",
    "Configuration",
    "DeviceFaultError",
    "Faults",
    "Instrument",
    "OneBitCamera",
    "SafeState",
    "ScanDevice",
    "ScanField",
    "Scene",
    "SpecimenStage",
    "field_of",
    "is_packed",
    "scan_parameters",
]
