"""Multislice: how a periodic specimen scatters each plane wave, and the probes that follow from it."""

from esteemcore.simulate.multislice.fourier import Transform
from esteemcore.simulate.multislice.recombination import recombine
from esteemcore.simulate.multislice.scattering import (
    BAND_LIMIT,
    Block,
    ScatteringMatrix,
    band_limit_per_nm,
    scattering_matrix,
)

__all__ = [
    "BAND_LIMIT",
    "Block",
    "ScatteringMatrix",
    "Transform",
    "band_limit_per_nm",
    "recombine",
    "scattering_matrix",
]
