"""Simulated specimens, probe, detectors, spectra, drift, scan distortion and damage, with their truth."""

from esteemcore.simulate.bank import Bank, bank
from esteemcore.simulate.beam import Beam
from esteemcore.simulate.composition import COMPOSITIONS, Composition, Content, composition
from esteemcore.simulate.damage import Damage, DamageMap
from esteemcore.simulate.detector import Detector
from esteemcore.simulate.distortion import Drift, ScanDistortion
from esteemcore.simulate.edges import EDGES, FINE_STRUCTURE, Edge, edges_of
from esteemcore.simulate.images import bright_field_image, haadf_image
from esteemcore.simulate.interpolation import interpolate_cell
from esteemcore.simulate.phases import ELEMENTS, PHASES, Phase
from esteemcore.simulate.polycrystal import Polycrystal, polycrystal
from esteemcore.simulate.sampler import FrameSampler, scan_to_specimen
from esteemcore.simulate.specimen import SPECIMENS, Specimen, specimen
from esteemcore.simulate.spectra_eds import EdsDetector, EdsSampler
from esteemcore.simulate.spectra_eels import EelsCamera, EelsSampler, ZeroLoss
from esteemcore.simulate.truth import phase_truth
from esteemcore.simulate.xray_lines import SHELLS, Shell

__all__ = [
    "COMPOSITIONS",
    "EDGES",
    "ELEMENTS",
    "FINE_STRUCTURE",
    "PHASES",
    "SHELLS",
    "SPECIMENS",
    "Bank",
    "Beam",
    "Composition",
    "Content",
    "Damage",
    "DamageMap",
    "Detector",
    "Drift",
    "Edge",
    "EdsDetector",
    "EdsSampler",
    "EelsCamera",
    "EelsSampler",
    "FrameSampler",
    "Phase",
    "Polycrystal",
    "ScanDistortion",
    "Shell",
    "Specimen",
    "ZeroLoss",
    "bank",
    "bright_field_image",
    "composition",
    "edges_of",
    "haadf_image",
    "interpolate_cell",
    "phase_truth",
    "polycrystal",
    "scan_to_specimen",
    "specimen",
]
