"""Spectrum images of energy losses, X-rays and light: components, their number and nature, backgrounds, maps."""

from esteemcore.spectral.align_energy import EnergyAlignment, align_energy
from esteemcore.spectral.axes import ConvertedSpectra, convert_axis
from esteemcore.spectral.background import BackgroundRemoved, EdgeMap, edge_map, remove_background
from esteemcore.spectral.cliff_lorimer import MeasuredComposition, cliff_lorimer
from esteemcore.spectral.element_lines import ElementLines, element_lines
from esteemcore.spectral.meter import ComponentMeter
from esteemcore.spectral.online import OnlineComponents, OnlineNmf, OnlinePca
from esteemcore.spectral.online_sums import spectra_chunk
from esteemcore.spectral.pca import PrincipalComponents, pca
from esteemcore.spectral.rank import Rank, estimate_rank
from esteemcore.spectral.thickness import RelativeThickness, relative_thickness
from esteemcore.spectral.uncertainty import uncertainty
from esteemcore.spectral.uncertainty_parts import MethodAgreement, UncertaintyPart, UnmixingUncertainty
from esteemcore.spectral.unmix import unmix
from esteemcore.spectral.unmixing import Uncertainty, Unmixing

__all__ = [
    "BackgroundRemoved",
    "ComponentMeter",
    "ConvertedSpectra",
    "EdgeMap",
    "ElementLines",
    "EnergyAlignment",
    "MeasuredComposition",
    "MethodAgreement",
    "OnlineComponents",
    "OnlineNmf",
    "OnlinePca",
    "PrincipalComponents",
    "Rank",
    "RelativeThickness",
    "Uncertainty",
    "UncertaintyPart",
    "Unmixing",
    "UnmixingUncertainty",
    "align_energy",
    "cliff_lorimer",
    "convert_axis",
    "edge_map",
    "element_lines",
    "estimate_rank",
    "pca",
    "relative_thickness",
    "remove_background",
    "spectra_chunk",
    "uncertainty",
    "unmix",
]
