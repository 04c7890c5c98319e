"""Disks of an aperture that is not round: a ring with a bar across, and frames of them."""

from __future__ import annotations

import numpy as np

RADIUS = 6.0
SUBPIXELS = (np.arange(4) - 1.5) / 4


def aperture(shape: tuple[int, int], place, electrons: float = 1.0, scale: float = 1.0) -> np.ndarray:
    """Return the expected counts of one disk, magnified by `scale`."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    total = np.zeros(shape)
    for sy in SUBPIXELS:
        for sx in SUBPIXELS:
            v, u = (y + sy - place[0]) / scale, (x + sx - place[1]) / scale
            r = np.hypot(v, u)
            ring = _soft(RADIUS - r) * _soft(r - 0.62 * RADIUS)
            bar = _soft(0.12 * RADIUS - np.abs(0.8 * v + 0.6 * u)) * _soft(RADIUS - r)
            total += np.maximum(ring, bar)
    return total * (electrons / total.sum())


def pattern(rng: np.random.Generator, electrons: float, shape=(72, 72), background: float = 0.1):
    """Return a direct beam and four reflections round it: expected counts, places, electrons."""
    beam = np.array(shape) / 2 + rng.uniform(-1, 1, 2)
    turn = rng.uniform(0, 2 * np.pi) + np.pi / 2 * np.arange(4)
    places = np.vstack([beam, beam + 22 * np.stack([np.sin(turn), np.cos(turn)], axis=1)])
    number = electrons * np.array([5, *rng.uniform(0.5, 1.5, 4)])
    image = background + sum(aperture(shape, p, n) for p, n in zip(places, number, strict=True))
    return image, places, number


def least_variance(shape, place, electrons: float, rate: np.ndarray) -> float:
    """Return the bound of Cramer and Rao on a squared distance, with background, height and place unknown."""
    step = 0.05
    moved = [
        (aperture(shape, place + d, electrons) - aperture(shape, place - d, electrons)) / (2 * step)
        for d in step * np.eye(2)
    ]
    near = np.hypot(*(np.mgrid[: shape[0], : shape[1]] - np.array(place)[:, None, None])) < 10
    derivative = np.stack([np.ones(shape), aperture(shape, place), *moved])[:, near]
    return float(np.diag(np.linalg.inv((derivative / rate[near]) @ derivative.T))[2:].sum())


def _soft(distance: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + distance / 1.2, 0, 1)
