"""Simulated specimens, probe, one-bit detector, drift and scan distortion, with their truth."""

from esteemcore.simulate.bank import Bank, bank
from esteemcore.simulate.beam import Beam
from esteemcore.simulate.detector import Detector
from esteemcore.simulate.distortion import Drift, ScanDistortion
from esteemcore.simulate.images import bright_field_image, haadf_image
from esteemcore.simulate.interpolation import interpolate_cell
from esteemcore.simulate.sampler import FrameSampler, scan_to_specimen
from esteemcore.simulate.specimen import SPECIMENS, Specimen, specimen
from esteemcore.simulate.truth import phase_truth

__all__ = [
    "SPECIMENS",
    "Bank",
    "Beam",
    "Detector",
    "Drift",
    "FrameSampler",
    "ScanDistortion",
    "Specimen",
    "bank",
    "bright_field_image",
    "haadf_image",
    "interpolate_cell",
    "phase_truth",
    "scan_to_specimen",
    "specimen",
]
