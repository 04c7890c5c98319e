"""A simulated STEM for Nion Swift: free visit orders, 4D-STEM, EELS and EDS, a beam blanker and a dose ledger."""

from esteem_sim.camera import OneBitCamera, is_packed
from esteem_sim.configuration import CAMERA_ID, EDS_ID, EELS_ID, Configuration, scan_parameters
from esteem_sim.eds_detector import EdsDetector
from esteem_sim.eels_camera import EelsCamera
from esteem_sim.faults import DeviceFaultError, Faults
from esteem_sim.instrument import INSTRUMENT_ID, Instrument, SafeState
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_field import ScanField, field_of
from esteem_sim.scene import CHANNELS, Sample, Scene
from esteem_sim.specimen_stage import SpecimenStage
from esteem_sim.visits import Visits

__all__ = [
    "CAMERA_ID",
    "CHANNELS",
    "EDS_ID",
    "EELS_ID",
    "INSTRUMENT_ID",
    "Configuration",
    "DeviceFaultError",
    "EdsDetector",
    "EelsCamera",
    "Faults",
    "Instrument",
    "OneBitCamera",
    "SafeState",
    "Sample",
    "ScanDevice",
    "ScanField",
    "Scene",
    "SpecimenStage",
    "Visits",
    "field_of",
    "is_packed",
    "scan_parameters",
]
