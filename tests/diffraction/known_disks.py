"""Simulated patterns of known disks, and how found ones compare with them."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from esteemcore import simulate


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Found disks against true ones, over some positions."""

    recall: float
    false_per_frame: float
    errors: np.ndarray
    sigma: np.ndarray

    @property
    def rms(self) -> float:
        return float(np.sqrt((self.errors**2).sum(axis=1).mean()))


def compare(truth: simulate.Polycrystal, table, positions, least: float = 40.0, near: float = 2.5) -> Comparison:
    """Match disks of `least` electrons that lie whole on the detector; one with 4 electrons near by is not false."""
    ky, kx = truth.frame_shape
    radius = truth.radius_px
    visible = found = false = 0
    errors, sigma = [], []
    for position in positions:
        mine = truth.frame == position
        place, electrons = np.stack([truth.y[mine], truth.x[mine]], 1), truth.electrons[mine]
        place, electrons = place[electrons >= 4], electrons[electrons >= 4]
        inside = ((place > radius) & (place < np.array([ky, kx]) - 1 - radius)).all(axis=1)
        visible += int((inside & (electrons >= least)).sum())
        rows = np.flatnonzero(table.frame == position)
        if not len(rows):
            continue
        at = np.stack([table.y[rows], table.x[rows]], 1).astype(float)
        distance, which = cKDTree(place).query(at)
        false += int((distance >= near).sum())
        good = (distance < near) & (inside & (electrons >= least))[which]
        found += len(set(which[good]))
        errors.append((at - place[which])[good])
        sigma.append(table.sigma_px[rows][good])
    return Comparison(
        found / visible, false / len(positions), np.concatenate(errors), np.concatenate(sigma).astype(float)
    )


def pure(truth: simulate.Polycrystal) -> np.ndarray:
    """Return the positions of a single grain."""
    grains = truth.member.shape[0] - (truth.diffuse.shape[1] - 1)
    return np.flatnonzero(truth.member[:grains].max(axis=0).ravel() > 0.99)
