"""Unmixing methods, one per file; see `esteemcore.spectral.methods.problem` for how to add one."""

from esteemcore.spectral.methods.blu import blu
from esteemcore.spectral.methods.gmm import gmm
from esteemcore.spectral.methods.ica import ica
from esteemcore.spectral.methods.kmeans import kmeans
from esteemcore.spectral.methods.mcr import mcr
from esteemcore.spectral.methods.mvsa import mvsa
from esteemcore.spectral.methods.nfindr import nfindr
from esteemcore.spectral.methods.nmf import nmf
from esteemcore.spectral.methods.pca import pca
from esteemcore.spectral.methods.problem import Factors, Method, Problem
from esteemcore.spectral.methods.spa import spa
from esteemcore.spectral.methods.vca import vca

METHODS = {
    "blu": Method(blu, sum_to_one=False, lazy=False),
    "nmf": Method(nmf, sum_to_one=False),
    "pca": Method(pca, known=False, sum_to_one=False),
    "ica": Method(ica, known=False, sum_to_one=False),
    "mcr": Method(mcr, unimodal=True, lazy=False),
    "vca": Method(vca),
    "spa": Method(spa),
    "nfindr": Method(nfindr),
    "mvsa": Method(mvsa),
    "kmeans": Method(kmeans, known=False),
    "gmm": Method(gmm, known=False),
}

__all__ = ["METHODS", "Factors", "Method", "Problem"]
