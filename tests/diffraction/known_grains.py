"""Simulated grains for the tests of classes, and how found classes compare with them."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from esteemcore import simulate


def pure(truth: simulate.Polycrystal) -> np.ndarray:
    """Return where there is one class only, flat."""
    return truth.member.max(axis=0).ravel() > 0.99


def index(truth: simulate.Polycrystal, labels: np.ndarray) -> float:
    """Return the adjusted Rand index of labels on pure positions."""
    chosen = pure(truth)
    return float(adjusted_rand_score(truth.label.ravel()[chosen], labels.ravel()[chosen]))


def matched(truth: simulate.Polycrystal, labels: np.ndarray) -> np.ndarray:
    """Return the true class of each found one."""
    table = np.zeros((int(labels.max()) + 1, len(truth.member)))
    there = labels.ravel() >= 0
    np.add.at(table, (labels.ravel()[there], truth.label.ravel()[there]), 1)
    return linear_sum_assignment(-table)[1]
