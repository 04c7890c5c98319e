"""Known spectra in methods that look for corners: those that the data do not show have no place among the pixels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank import truncated_svd
from esteemcore.lowrank.operators import sums
from esteemcore.spectral.abundances import abundances
from esteemcore.spectral.methods._points import weighted
from esteemcore.spectral.methods.problem import Factors, Problem

SHOWN = 0.5
"""Share of the squares of a known spectrum that principal components of the data hold, if the data show it: it then is
nearer to them than to what they leave out."""

LEAST_COSINE = 1e-6
"""Of the angle to the mean spectrum: pixels are scaled to the same share of that; one without any cannot be."""


def holding_known(method: Callable[[Problem], Factors]) -> Callable[[Problem], Factors]:
    """Return a method that looks for corners, for known spectra of which the data may hold nothing, too.

    A known spectrum that is far from all principal components is none of the corners: an element that was looked for in
    vain, say, or one of two that always go together. The method then finds the others without it, and the amounts of
    all are those that fit best together. Where every spectrum is known, there is no corner to look for.
    """

    @functools.wraps(method)
    def solve(problem: Problem) -> Factors:
        known = problem.known
        if known is None:
            return method(problem)
        if len(known) == problem.n:
            work = problem.steps(1)
            amounts = abundances(problem, known)
            work.step()
            return Factors(known, amounts)
        shown = shown_in_data(problem, known)
        if shown.all():
            return method(problem)
        seen = dataclasses.replace(
            problem, n=problem.n - int((~shown).sum()), known=known[shown] if shown.any() else None
        )
        found = method(seen)
        spectra = np.concatenate([known, found.spectra[int(shown.sum()) :]])
        note = (
            f"{', '.join(f'known[{k}]' for k in np.flatnonzero(~shown))}: the data do not show it apart from others; "
            "the other spectra were found without it, 'nmf' and 'mcr' fit all together"
        )
        return Factors(spectra, abundances(problem, spectra), notes=(*found.notes, note), doubted=found.doubted)

    return solve


def shown_in_data(problem: Problem, known: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which known spectra (k, energy) lie among as many principal components of the data as are asked for."""
    weights = problem.channel_weights
    _, _, directions = truncated_svd(weighted(problem), problem.n, seed=problem.seed)
    scaled = known * weights
    scores = scaled @ directions.T
    mean = (sums(problem.matrix).columns * weights) @ directions.T
    size = np.square(scores).sum(axis=1)
    held = size > SHOWN * np.square(scaled).sum(axis=1)
    return np.asarray(held & (scores @ mean > LEAST_COSINE * np.sqrt(size) * np.linalg.norm(mean)))
