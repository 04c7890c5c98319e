"""Positions that have no class, and how sure the others are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from esteemcore.diffraction.patterns import BY_CHANCE, Binned
from esteemcore.diffraction.shares import Shares

NONE = 0.5
"""Part of a pattern that classes leave from which it is none of them; of a bent grain they leave 0.4 at most."""

SURELY = 3.0
"""Standard errors by which it is more."""

BARE = 0.1
"""Part of the counts of its class below which a position shows hardly more than the beam: thin places have more."""


LEAST_PART = 0.25
"""Part of a position below which its class cannot be that, if another one has more."""


def unlike(shares: Shares) -> NDArray[np.bool_]:
    """Return which positions look like none of the classes, nor like several at once."""
    return shares.unexplained - SURELY * shares.sigma > NONE


def bare(data: Binned, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which positions have less than a tenth of the counts of their class, surely.

    The counts of a class are those of the position in which its mean electron lies, so that holes do not lower them.
    """
    total = data.counts.sum(axis=1, dtype=np.int64)
    result = np.zeros(len(total), np.bool_)
    for c in np.unique(labels[labels >= 0]):
        own = labels == c
        usual = float((total[own].astype(np.float64) ** 2).sum()) / max(float(total[own].sum()), 1.0)
        result |= own & (stats.poisson.cdf(total, BARE * usual) < BY_CHANCE / len(total))
    return result


def by_part(labels: NDArray[np.int64], parts: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels with those whose class has less than `LEAST_PART` of the position as the class that has most of it.

    Where two grains meet, the mixture may take the blend of both for a third class, such as an amorphous one.
    """
    own = parts[np.arange(len(labels)), labels]
    return np.where(own < LEAST_PART, parts.argmax(axis=1), labels)


def confidence(posterior: NDArray[Any], parts: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return posterior times the part of the label's class in the two largest fractions; 0 without a class.

    Where `by_part` chose another class than the likeliest, the posterior of that blend counts for it as well.
    """
    positions = np.arange(len(labels))
    chosen = np.maximum(labels, 0)
    own = np.nan_to_num(parts)[positions, chosen]
    others = np.nan_to_num(parts)
    others[positions, chosen] = 0
    rival = others.max(axis=1)
    part = np.divide(own, own + rival, out=np.zeros(len(labels)), where=own + rival > 0)
    blend = np.where(posterior.argmax(axis=1) != chosen, posterior.max(axis=1), 0)
    return np.where(labels >= 0, np.clip((posterior[positions, chosen] + blend) * part, 0, 1), 0.0)
