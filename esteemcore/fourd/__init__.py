"""4D-STEM, frame by frame: reducers for statistics, virtual detectors, centre of mass and single-side-band phase."""

from esteemcore.fourd.center_of_mass import CenterOfMass, CenterOfMassResult, fit_rotation, integrate
from esteemcore.fourd.geometry import Geometry
from esteemcore.fourd.live import LiveImage, live_images, live_reducers, warm_up
from esteemcore.fourd.ssb import SingleSideband, SingleSidebandResult
from esteemcore.fourd.statistics import FrameStatistics, FrameStatisticsResult
from esteemcore.fourd.virtual import VirtualDetectors, VirtualDetectorsResult, annular_mask

__all__ = [
    "CenterOfMass",
    "CenterOfMassResult",
    "FrameStatistics",
    "FrameStatisticsResult",
    "Geometry",
    "LiveImage",
    "SingleSideband",
    "SingleSidebandResult",
    "VirtualDetectors",
    "VirtualDetectorsResult",
    "annular_mask",
    "fit_rotation",
    "integrate",
    "live_images",
    "live_reducers",
    "warm_up",
]
