"""Gaussian mixture: each pixel is of one kind, with a probability."""

from __future__ import annotations

import warnings

import numpy as np

from esteemcore.spectral.methods._clusters import features, of_memberships
from esteemcore.spectral.methods._points import points
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 5
"""Starts by k-means; the most likely mixture is kept."""

ITERATIONS = 500
"""Of expectation and maximisation."""


def gmm(problem: Problem) -> Factors:
    """Return the mean spectra of clusters of pixels, and maps of the probability to belong to each.

    A mixture of Gaussians of any shape (scikit-learn) of the points of the pixels with signal, in the space of the
    weighted principal components [1]_. A probability is no amount: a pixel half of one and half of another phase is a
    cluster of its own, or one of both with certainty.

    References
    ----------
    .. [1] C. M. Bishop, Pattern Recognition and Machine Learning, Springer (2006), section 9.2.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    work = problem.steps(2)
    cloud = points(problem)
    work.step()
    if problem.n == 1:
        result = of_memberships(problem, np.ones((len(cloud.scores), 1)))
        work.step()
        return result
    places = features(problem, cloud)
    inside = places[cloud.candidate]
    # clusters are as wide as the noise at least; a line of exactly equal points has no density
    least = 1e-6 * float(np.square(inside - inside.mean(axis=0)).sum(axis=1).mean())
    restarts = RESTARTS if problem.restarts is None else problem.restarts
    model = GaussianMixture(
        problem.n, n_init=restarts, max_iter=ITERATIONS, reg_covar=max(least, 1e-300), random_state=problem.seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inside)
    notes = () if model.converged_ else (f"the mixture had not settled after {ITERATIONS} iterations",)
    result = of_memberships(problem, model.predict_proba(places), notes)
    work.step()
    return result
