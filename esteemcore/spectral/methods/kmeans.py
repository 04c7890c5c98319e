"""k-means: each pixel is of one kind."""

from __future__ import annotations

import numpy as np

from esteemcore.spectral.methods._clusters import features, of_memberships
from esteemcore.spectral.methods._points import points
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 10
"""Starts by k-means++; the tightest clusters are kept."""


def kmeans(problem: Problem) -> Factors:
    """Return the mean spectra of clusters of pixels; each pixel has one component only.

    k-means++ of scikit-learn [1]_ on the points of the pixels with signal, in the space of the weighted principal
    components, where noise is equal in all directions; thickness does not matter there.

    References
    ----------
    .. [1] D. Arthur, S. Vassilvitskii, Proc. 18th ACM-SIAM SODA, 1027 (2007).
    """
    from sklearn.cluster import KMeans

    work = problem.steps(2)
    cloud = points(problem)
    work.step()
    places = features(problem, cloud)
    restarts = RESTARTS if problem.restarts is None else problem.restarts
    model = KMeans(problem.n, n_init=restarts, random_state=problem.seed).fit(places[cloud.candidate])
    members = np.eye(problem.n)[model.predict(places)]
    result = of_memberships(problem, members)
    work.step()
    return result
