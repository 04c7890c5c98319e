"""Spectrum images of energy losses, X-rays and light: components, how many there are, backgrounds, maps, alignment."""

from esteemcore.spectral.pca import PrincipalComponents, pca
from esteemcore.spectral.rank import Rank, estimate_rank

__all__ = ["PrincipalComponents", "Rank", "estimate_rank", "pca"]
