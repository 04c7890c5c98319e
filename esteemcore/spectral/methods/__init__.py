"""Unmixing methods, one per file; see `esteemcore.spectral.methods.problem` for how to add one."""

from esteemcore.spectral.methods.problem import Factors, Method, Problem
from esteemcore.spectral.methods.spa import spa

METHODS = {
    "spa": Method(spa),
}

__all__ = ["METHODS", "Factors", "Method", "Problem"]
