"""What the electron beam is: wavelength, aperture and aberrations, shared by analysis and simulation."""

from esteemcore.optics.aberrations import Aberrations, aberration_phase, aperture_edge, parse_aberrations
from esteemcore.optics.electron import interaction_parameter, wavelength_nm

__all__ = [
    "Aberrations",
    "aberration_phase",
    "aperture_edge",
    "interaction_parameter",
    "parse_aberrations",
    "wavelength_nm",
]
