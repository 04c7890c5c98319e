"""Spectrum images of energy losses, X-rays and light: components, how many there are, backgrounds, maps."""

from esteemcore.spectral.background import BackgroundRemoved, EdgeMap, edge_map, remove_background
from esteemcore.spectral.meter import ComponentMeter
from esteemcore.spectral.pca import PrincipalComponents, pca
from esteemcore.spectral.rank import Rank, estimate_rank

__all__ = [
    "BackgroundRemoved",
    "ComponentMeter",
    "EdgeMap",
    "PrincipalComponents",
    "Rank",
    "edge_map",
    "estimate_rank",
    "pca",
    "remove_background",
]
