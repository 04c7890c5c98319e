"""Independent component analysis: spectra whose slopes know nothing of each other."""

from __future__ import annotations

import warnings

import numpy as np

from esteemcore._core.errors import ParameterError
from esteemcore.spectral.methods._points import points
from esteemcore.spectral.methods.problem import Factors, Problem

ITERATIONS = 1000
"""Of FastICA; tens are usual."""


def ica(problem: Problem) -> Factors:
    """Return components whose spectra have slopes as independent as can be, of either sign.

    FastICA of scikit-learn [1]_ on the differences between neighbouring channels of the principal components, weighted
    by their noise: phases share smooth backgrounds, so that their spectra depend on each other, but edges and lines are
    at places of their own [2]_. Maps of phases, which exclude each other, are not independent.

    References
    ----------
    .. [1] A. Hyvärinen, E. Oja, Neural Networks 13, 411 (2000).
    .. [2] F. de la Peña et al., Ultramicroscopy 111, 169 (2011).
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    work = problem.steps(2)
    cloud = points(problem)
    work.step()
    weights = problem.channel_weights
    if problem.n == 1:
        work.step()
        return Factors(cloud.basis, np.asarray(problem.smooth(cloud.scores)))
    slopes = np.diff(cloud.basis, axis=1) * np.sqrt(weights[1:] * weights[:-1])
    spread = np.linalg.svd(slopes - slopes.mean(axis=1, keepdims=True), compute_uv=False)
    number = int((spread > 1e-6 * spread[:1]).sum())
    if number < problem.n:
        raise ParameterError(
            f"n_components is {problem.n}, but the slopes of the spectra along {len(weights)} channels hold {number} "
            "independent ones at most; ask for fewer, or take another method"
        )
    model = FastICA(
        whiten="unit-variance",
        whiten_solver="eigh",
        fun="exp",
        max_iter=ITERATIONS,
        tol=1e-6,
        random_state=problem.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(slopes.T)
    notes: tuple[str, ...] = ()
    if model.n_iter_ >= ITERATIONS:
        notes = (f"the independent components had not settled after {ITERATIONS} iterations",)
    if np.linalg.cond(model.components_) > 1e10:
        raise ParameterError("the spectra are too noisy for independent components: two of them became the same")
    maps = problem.smooth(cloud.scores) @ np.linalg.inv(model.components_)
    work.step()
    return Factors(model.components_ @ cloud.basis, np.asarray(maps), notes=notes)
