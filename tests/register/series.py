"""Small series of lattice images with exactly known displacements."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

OVERSAMPLING = 3
PAD = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A specimen that can be sampled at any (row, column) of the common grid, within a margin."""

    fine: np.ndarray
    spacing: float

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(
            self.fine, [(y + PAD) * OVERSAMPLING, (x + PAD) * OVERSAMPLING], order=3, mode="nearest", prefilter=True
        )


def lattice(
    shape=(96, 96), spacing=11.0, angle_deg=7.0, vacancies=0.06, boundary=True, width=1.9, seed=0, centred=True
) -> Scene:
    """Two kinds of columns; a boundary across which they change, and vacancies; mean about 1."""
    rng = np.random.default_rng(seed)
    size = [(n + 2 * PAD) * OVERSAMPLING for n in shape]
    angle = np.deg2rad(angle_deg)
    cell = spacing * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    m = int(max(shape) / spacing) + 20
    index = np.stack(np.meshgrid(np.arange(-m, m), np.arange(-m, m), indexing="ij"), -1).reshape(-1, 2)
    heavy = index @ cell + np.array(shape) / 2
    light = heavy + cell.sum(axis=0) / 2
    strength = np.concatenate([np.ones(len(heavy)), np.full(len(light), 0.4 if centred else 0.0)])
    place = np.concatenate([heavy, light])
    if boundary:
        beyond = place[:, 1] > shape[1] / 2 + 0.2 * (place[:, 0] - shape[0] / 2)
        strength[: len(heavy)][beyond[: len(heavy)]] = 0.65
        strength[len(heavy) :][beyond[len(heavy) :]] = 0.55 if centred else 0.0
    strength[rng.random(len(strength)) < vacancies] *= 0.3
    fine = np.zeros(size)
    at = np.round((place + PAD) * OVERSAMPLING).astype(int)
    inside = ((at >= 0) & (at < size)).all(axis=1)
    np.add.at(fine, tuple(at[inside].T), strength[inside])
    fine = ndimage.gaussian_filter(fine, width * OVERSAMPLING) * OVERSAMPLING**2
    fine = fine / fine.mean() + 0.3
    return Scene(fine / fine.mean(), spacing)


def jitter(rng: np.random.Generator, n: int, lines: int, sigma_px: float, correlation: float = 0.6) -> np.ndarray:
    """AR(1) displacements (n, lines, 2)."""
    white = rng.standard_normal((n, lines, 2))
    result = white.copy()
    for i in range(1, lines):
        result[:, i] = correlation * result[:, i - 1] + np.sqrt(1 - correlation**2) * white[:, i]
    return sigma_px * result


def drift(n: int, lines: int, velocity=(0.6, -0.4)) -> np.ndarray:
    """Steady displacements (n, lines, 2), zero in the middle of the series; velocity in px per frame."""
    time = np.arange(n)[:, None] + (np.arange(lines) + 0.5) / lines - n / 2
    return time[..., None] * np.array(velocity)


def sample(scene: Scene, moved: np.ndarray, shape, dose: float | None, seed: int = 0) -> np.ndarray:
    """Return frames (n, y, x) taken with displacements (n, y, 2) per line or (n, y, x, 2); Poisson counts of a dose."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    if moved.ndim == 3:
        moved = np.broadcast_to(moved[:, :, None], (len(moved), *shape, 2))
    frames = np.array([scene.at(y + d[..., 0], x + d[..., 1]) for d in moved])
    if dose is None:
        return frames
    return np.random.default_rng(seed).poisson(np.maximum(frames, 0) * dose).astype(np.uint16)


def relative_error(field: np.ndarray, truth: np.ndarray, rim: int = 4) -> float:
    """RMS over frames and lines of the error (dy, dx) that is not common to all frames, in px."""
    error = (np.asarray(field, float) - truth)[:, rim:-rim]
    error = error - error.mean(axis=0)
    return float(np.sqrt((error**2).sum(axis=-1).mean()))
