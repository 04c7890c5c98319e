"""Which templates lie round each other, for the tilt between them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from esteemcore.diffraction._tilt_kernels import first_of_each
from esteemcore.diffraction.orientation_library import TemplateLibrary

Floats = NDArray[np.float64]

AROUND = 7
"""Templates of a paraboloid, that in the middle included."""
NEAR = 1.6
"""Steps of the library within which they lie."""
SEEN = 48
"""Symmetric copies among which they are looked for."""
LEAST = 6
"""Templates that a paraboloid needs."""
FLAT = 100.0
"""Condition of the fit from which the templates lie too nearly in a line."""


class Around(NamedTuple):
    """The templates round each template (2 t) and its mirror image (2 t + 1): see `refine_tilts`."""

    counts: NDArray[np.int64]
    number: NDArray[np.int64]
    mirror: NDArray[np.int64]
    turn: Floats
    inverse: Floats
    step: float


def around(library: TemplateLibrary, mirrored: bool) -> Around:
    """Return the nearest templates of each, by the direction of the beam in the crystal, symmetry included.

    Where fewer than six lie near there is no paraboloid (count 0), nor where the library has one direction only.
    """
    assert library.phase is not None
    n = len(library)
    own = np.stack([library.rotations, product(library.rotations, np.array([0.0, 0, 1, 0]))], axis=1)
    number, mirror = np.divmod(np.arange(2 * n), 2)
    shape = (2 * n, AROUND)
    made = Around(
        np.zeros(2 * n, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape),
        np.zeros((2 * n, 6, AROUND)),
        0.0,
    )
    steps = []
    for phase, symmetry in enumerate(library.symmetries):
        rows = np.flatnonzero((library.phase[number] == phase) & (mirrored | (mirror == 0)))
        if not len(rows):
            continue
        alone = own.reshape(-1, 4)[rows]
        copies = product(symmetry[:, None], alone[None]).reshape(-1, 4)
        of = np.tile(rows, len(symmetry))
        there = _beam(copies)
        distance, near = cKDTree(there).query(_beam(alone), k=min(SEEN, len(there)))
        distance, near = distance.reshape(len(rows), -1), near.reshape(len(rows), -1)
        far = np.where(distance > 1e-4, distance, np.inf).min(axis=1)
        step = float(np.median(far))
        if not math.isfinite(step):
            continue
        steps.append(step)
        _fill(made, rows, alone, of[near], copies[near], distance < NEAR * step)
    return made._replace(step=float(np.median(steps)) if steps else 0.0)


def _fill(
    made: Around, rows: NDArray[np.int64], own: Floats, others: NDArray[np.int64], copies: Floats, near: NDArray[Any]
) -> None:
    """Enter the templates round each, itself first, and of those with the same direction one."""
    w, x, y, z = np.moveaxis(product((own * [1, -1, -1, -1])[:, None], copies), -1, 0)
    zeta = 2 * np.arctan2(z, w)  # the turn about the beam that leaves a tilt only
    c, s = np.cos(zeta / 2), np.sin(zeta / 2)
    side = np.stack([x * c - y * s, y * c + x * s], axis=-1)
    size = np.linalg.norm(side, axis=-1)
    tilt = side * (2 * np.arcsin(np.minimum(size, 1)) / np.maximum(size, 1e-12))[..., None]
    chosen = np.full((len(rows), AROUND), -1, np.int64)
    first_of_each(np.ascontiguousarray(tilt), near & (size > 5e-4), 1e-3, chosen[:, 1:])
    count = 1 + (chosen[:, 1:] >= 0).sum(axis=1)
    pick = np.maximum(chosen, 0)
    tilt = np.take_along_axis(tilt, pick[..., None], axis=1)
    tilt[:, 0] = 0
    number = np.take_along_axis(others, pick, axis=1)
    number[:, 0] = rows
    turn = np.take_along_axis(zeta, pick, axis=1)
    turn[:, 0] = 0
    for n in range(LEAST, AROUND + 1):
        of = np.flatnonzero(count == n)
        scale = np.abs(tilt[of, :n]).max(initial=1e-12)
        x, y = np.moveaxis(tilt[of, :n] / scale, -1, 0)
        design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
        left, singular, right = np.linalg.svd(design, full_matrices=False)
        good = singular[:, 0] < FLAT * singular[:, -1]
        of, row = of[good], rows[of[good]]
        inverse = (right[good].swapaxes(1, 2) / singular[good, None]) @ left[good].swapaxes(1, 2)
        made.counts[row] = n
        made.number[row, :n], made.mirror[row, :n] = np.divmod(number[of, :n], 2)
        made.turn[row, :n] = turn[of, :n]
        made.inverse[row, :, :n] = inverse / scale ** np.array([0, 1, 1, 2, 2, 2])[:, None]


def product(a: Floats, b: Floats) -> Floats:
    """Return products of quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(a, -1, 0)
    t, u, v, r = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            w * t - x * u - y * v - z * r,
            w * u + x * t + y * r - z * v,
            w * v - x * r + y * t + z * u,
            w * r + x * v - y * u + z * t,
        ],
        axis=-1,
    )


def _beam(q: Floats) -> Floats:
    """Return the direction of the beam in the crystal."""
    w, x, y, z = q.T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z], axis=1)
