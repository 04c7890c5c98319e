"""How many patterns the counts can tell apart: likelihood in electrons that did not help to find the patterns."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.progress import Progress
from esteemcore.diffraction.mixture import Mixture, features, first_groups, fit_mixture, log_likelihood
from esteemcore.diffraction.patterns import Binned

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
"""Numbers of components that are tried, until more of them do not help twice in a row."""

RESTARTS = 2
"""Groupings from which a mixture is started; the one with the highest bound counts."""

ENOUGH = 8
"""Positions per component, at least, on average."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Held-out likelihood against the number of components.

    Attributes
    ----------
    components : ndarray of int64, shape (m,)
        Numbers that were tried.
    gain : ndarray of float64, shape (m,)
        Log-likelihood per held-out electron above that of one component, in nats.
    sigma : ndarray of float64, shape (m,)
        Standard error of the difference to the number before.
    best : int
        The smallest number that no larger one surpasses by more than its standard error.
    """

    components: NDArray[np.int64]
    gain: NDArray[np.float64]
    sigma: NDArray[np.float64]
    best: int


def held_out(data: Binned, seed: int, steps: Progress) -> Curve:
    """Fit to half of the electrons, score on the other half, for more and more components until it does not help."""
    fitted, scored = data.thinned(np.random.default_rng(seed))
    scores = features(fitted, seed)
    electrons = max(scored.total(), 1.0)
    tried, values, errors = [], [], []
    before: NDArray[np.float64] | None = None
    best, since = 0, 0
    most = max(1, len(data.counts) // ENOUGH)
    for k in (n for n in STEPS if n <= most):
        found = fit_mixture(fitted, first_groups(scores, k, seed), iterations=30, tolerance=3e-3)
        each = log_likelihood(scored, found)
        difference = each - before if before is not None else np.zeros(len(each))
        tried.append(k)
        values.append(float(each.sum()) / electrons)
        errors.append(float(difference.std()) * np.sqrt(len(each)) / electrons)
        steps.step()
        if k > 1 and values[-1] > values[best] + errors[-1]:
            best, since = len(tried) - 1, 0
        elif k > 1:
            since += 1
        before = each
        if since == 2:
            break
    gain = np.array(values) - values[0]
    return Curve(np.array(tried, np.int64), gain, np.array(errors), tried[best])


def best_of(data: Binned, scores: NDArray[np.float32], k: int, seed: int, steps: Progress) -> Mixture:
    """Return the mixture of k components with the highest bound of several."""
    tried = []
    for restart in range(RESTARTS if k > 1 else 1):
        tried.append(fit_mixture(data, first_groups(scores, k, seed + restart)))
        steps.step()
    return max(tried, key=lambda mixture: mixture.bound)
