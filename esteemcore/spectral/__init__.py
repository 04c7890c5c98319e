"""Spectrum images of energy losses, X-rays and light: components, their number and nature, backgrounds, maps."""

from esteemcore.spectral.align_energy import EnergyAlignment, align_energy
from esteemcore.spectral.background import BackgroundRemoved, EdgeMap, edge_map, remove_background
from esteemcore.spectral.element_lines import ElementLines, element_lines
from esteemcore.spectral.meter import ComponentMeter
from esteemcore.spectral.pca import PrincipalComponents, pca
from esteemcore.spectral.rank import Rank, estimate_rank
from esteemcore.spectral.unmix import unmix
from esteemcore.spectral.unmixing import Uncertainty, Unmixing

__all__ = [
    "BackgroundRemoved",
    "ComponentMeter",
    "EdgeMap",
    "ElementLines",
    "EnergyAlignment",
    "PrincipalComponents",
    "Rank",
    "Uncertainty",
    "Unmixing",
    "align_energy",
    "edge_map",
    "element_lines",
    "estimate_rank",
    "pca",
    "remove_background",
    "unmix",
]
