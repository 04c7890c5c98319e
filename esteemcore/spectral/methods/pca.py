"""Principal components as an unmixing method: the best fit there is, of spectra that are no phases."""

from __future__ import annotations

import numpy as np

from esteemcore.spectral.methods._points import points
from esteemcore.spectral.methods.problem import Factors, Problem


def pca(problem: Problem) -> Factors:
    """Return the principal components of the weighted data and their maps, of either sign.

    `esteemcore.spectral.pca` says more about them.
    """
    work = problem.steps(1)
    cloud = points(problem)
    work.step()
    return Factors(cloud.basis, np.asarray(problem.smooth(cloud.scores)))
