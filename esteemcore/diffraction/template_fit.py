"""Disks of any pattern, fitted to the counts of many frames at once: one row of numbers per disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.disk_rows import of_part
from esteemcore.diffraction.look import USUAL_INSIDE
from esteemcore.diffraction.table import COLUMNS
from esteemcore.diffraction.template_search import STEPS, Candidates, TemplateLook, candidates, centers, windows
from esteemcore.events import EventTable

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

SWEEPS, ITERATIONS = 2, 20
"""Fits of each disk, the second on top of its neighbours as the first has found them; steps of each at most."""
NEAR = 0.2
"""A step of the place shorter than this, in standard errors of the place, is the last one."""
FIRST_DAMPING = 0.01
"""How much longer the diagonal of the information is at first (Levenberg and Marquardt): bright disks on a dark
background have narrow valleys, in which whole steps go to and fro."""
LEAST_RATE = 1e-3
"""Counts per pixel below which no background is believed."""
TOGETHER = 512
"""Disks whose windows are in memory at once."""


def rows_of_template(frames: NDArray[np.generic], look: TemplateLook) -> tuple[Numbers, NDArray[np.float32]]:
    """Return the number of disks of each frame (n, ky, kx), and their rows `COLUMNS`, the most significant first."""
    counts = np.where(look.valid, frames, 0).astype(np.float64)
    found = candidates(counts, look)
    center = centers(found, len(counts), look.axis)
    p = _first_guess(found)
    rows = np.full((len(found.frame), len(COLUMNS)), np.nan)
    for _ in range(SWEEPS):
        model = _model(p, found.frame, counts.shape, look)
        for first in range(0, len(p), TOGETHER):
            part = slice(first, first + TOGETHER)
            mine = found.rows(part)
            p[part], rows[part] = _fit(counts, model, p[part], mine, center[mine.frame], look)
    kept = rows[:, 4] >= look.significance
    number = np.bincount(found.frame[kept], minlength=len(counts)).astype(np.int64)
    order = np.lexsort((rows[kept, 1], rows[kept, 0], -rows[kept, 4], found.frame[kept]))
    return number, rows[kept][order].astype(np.float32)


def rows_of_events_like(electrons: EventTable, part: slice, look: TemplateLook) -> tuple[Numbers, NDArray[np.float32]]:
    """Do the same for some of the frames of events."""
    offset, look = electrons.offset[part.start : part.stop + 1], of_part(look, part)
    mine = slice(offset[0], offset[-1])
    frames = np.zeros((len(offset) - 1, look.valid.size))
    frame = np.repeat(np.arange(len(frames)), np.diff(offset))
    np.add.at(frames, (frame, electrons.pixel[mine].astype(np.int64)), electrons.count[mine])
    return rows_of_template(frames.reshape(-1, *look.valid.shape), look)


def _first_guess(found: Candidates) -> Floats:
    """Return background, height, two tilts, slope of the background, and place of each candidate, shape (n, 7)."""
    p = np.zeros((len(found.frame), 7))
    p[:, 0], p[:, 1] = np.maximum(found.background, 3 * LEAST_RATE), np.maximum(found.height, 0.02)
    p[:, 5], p[:, 6] = found.y, found.x
    return p


def _shape(p: Floats, look: TemplateLook) -> tuple[Numbers, Floats, Floats]:
    """Return the middle pixel (2, m) of each disk, its place beyond that, and template and derivatives (m, 3, pixels).

    All pixels of a window lie equally far from a step of the table, which is interpolated linearly in between.
    """
    middle = np.floor(p[:, 5:].T + 0.5).astype(np.int64)
    beyond = p[:, 5:].T - middle
    at = (beyond + 0.5) * STEPS
    low = np.clip(np.floor(at).astype(np.int64), 0, STEPS - 1)
    y, x = (at - low)[:, :, None, None]
    i, j = low
    upper = (1 - x) * look.table[i, j] + x * look.table[i, j + 1]
    lower = (1 - x) * look.table[i + 1, j] + x * look.table[i + 1, j + 1]
    return middle, beyond, (1 - y) * upper + y * lower


def _model(p: Floats, frame: Numbers, shape: tuple[int, ...], look: TemplateLook) -> Floats:
    """Return the rates of all disks of all frames, without tilts and backgrounds."""
    total = np.zeros(shape)
    for first in range(0, len(p), TOGETHER):
        part = slice(first, first + TOGETHER)
        middle, _, shapes = _shape(p[part], look)
        rows, columns = middle[0][:, None] + look.offset[0], middle[1][:, None] + look.offset[1]
        inside = (rows >= 0) & (rows < shape[1]) & (columns >= 0) & (columns < shape[2])
        frames = np.broadcast_to(frame[part][:, None], rows.shape)
        np.add.at(total, (frames[inside], rows[inside], columns[inside]), (p[part, 1:2] * shapes[:, 0])[inside])
    return total


def _fit(
    frames: Floats, model: Floats, start: Floats, found: Candidates, center: Floats, look: TemplateLook
) -> tuple[Floats, Floats]:
    r"""Fit disks by Fisher scoring and return parameters (m, 7) and rows (m, columns).

    .. math:: \lambda = B e^{g \rho} + (A + t \cdot u / R)\, T(u) + \text{neighbours}, \quad u = x - c

    with the priors of plain disks on the tilts t, relative to A, and on the slope g of the background.
    """
    p = start.copy()
    own = _own(start, look)
    away = np.stack([found.y, found.x], axis=1) - center
    outward = away / np.maximum(np.hypot(*away.T), look.radius)[:, None]
    good, active, damping = np.ones(len(p), np.bool_), np.ones(len(p), np.bool_), np.full(len(p), FIRST_DAMPING)
    normal, gradient, likelihood = _equations(frames, model, p, found.frame, outward, own, start, look)[:3]
    for _ in range(ITERATIONS):
        k = np.flatnonzero(active)
        if not len(k):
            break
        damped = normal[k]
        damped[:, range(7), range(7)] *= 1 + damping[k][:, None]
        step = np.linalg.solve(damped, gradient[k][:, :, None])[:, :, 0]
        far = np.abs(step[:, 5:]).max(axis=1)
        step[:, 5:] /= np.maximum(far, 1)[:, None]
        deviations = np.einsum("mi,mij,mj->m", step[:, 5:], normal[k][:, 5:, 5:], step[:, 5:])
        trial = p[k] + step
        trial[:, 0] = np.maximum(trial[:, 0], np.maximum(0.2 * p[k, 0], 3 * LEAST_RATE))
        trial[:, 1] = np.maximum(trial[:, 1], np.maximum(0.2 * p[k, 1], 0.01))
        trial[:, 4] = np.clip(trial[:, 4], -0.4, 0.4)
        tried = _equations(frames, model, trial, found.frame[k], outward[k], own[k], start[k], look)[:3]
        better = tried[2] >= likelihood[k]
        j = k[better]
        p[j], normal[j], gradient[j], likelihood[j] = (
            column[better] for column in (trial, tried[0], tried[1], tried[2])
        )
        damping[k] *= np.where(better, 0.1, 8.0)
        lost = (((p[k, 5:] - np.stack([found.y, found.x], axis=1)[k]) ** 2).sum(axis=1)) > 0.25 * look.radius**2
        good[k[lost]] = False
        active[k[lost | (deviations < NEAR**2) & (better | (damping[k] < 1))]] = False
    covariance = np.linalg.inv(normal)
    p[~good] = start[~good]
    p[~good, 5], p[~good, 6] = found.y[~good], found.x[~good]
    *_, above, rest = _equations(frames, model, p, found.frame, outward, own, start, look)
    score = np.minimum(found.score, np.sqrt(np.maximum(2 * _gain(*rest, above), 0)))
    return p, _rows(p, covariance, np.where(good, score, found.score), good, found, look)


def _own(p: Floats, look: TemplateLook) -> Floats:
    """Return what each disk has given to the rates of all disks, in the window round its start."""
    return np.asarray(p[:, 1:2] * _shape(p, look)[2][:, 0])


def _equations(
    frames: Floats,
    model: Floats,
    p: Floats,
    frame: Numbers,
    outward: Floats,
    own: Floats,
    start: Floats,
    look: TemplateLook,
) -> tuple[Floats, Floats, Floats, Floats, tuple[Floats, Floats, Floats, Floats]]:
    """Return normal matrices, gradients, log-likelihoods, rates of the disks, and what these are fitted to.

    The last are counts, good pixels, background and neighbours.
    """
    middle, beyond, shapes = _shape(p, look)
    counts, good = windows(frames, look.valid, frame, middle[0], middle[1], look.offset)
    others, _ = windows(model, look.valid, frame, middle[0], middle[1], look.offset)
    others = np.maximum(others - _moved(own, start, middle, look), 0)
    v, u = (look.offset[:, None] - beyond[:, :, None]) / look.radius
    out = outward @ look.offset.astype(np.float64)
    background, height, tilt_v, tilt_u, slope = (column[:, None] for column in p[:, :5].T)
    even = np.exp(np.clip(slope * out, -4, 4))
    structure = height + tilt_v * v + tilt_u * u
    disk, along_y, along_x = np.moveaxis(shapes, 1, 0)
    rate = background * even + structure * disk + others
    moves = good * (rate > LEAST_RATE)
    rate = np.maximum(rate, LEAST_RATE)
    derivative = np.stack(
        [
            even,
            disk,
            disk * v,
            disk * u,
            background * even * out,
            -structure * along_y - disk * tilt_v / look.radius,
            -structure * along_x - disk * tilt_u / look.radius,
        ],
        axis=1,
    )
    weighted = derivative * (moves / rate)[:, None]
    likelihood = (good * (counts * np.log(rate) - rate)).sum(axis=1)
    normal = weighted @ derivative.transpose(0, 2, 1)
    gradient = np.einsum("mik,mk->mi", weighted, counts - rate)
    for i, sd in zip((2, 3, 4), USUAL_INSIDE, strict=True):
        certainty = 1 / (sd * (p[:, 1] if i < 4 else 1.0)) ** 2
        normal[:, i, i] += certainty
        gradient[:, i] -= p[:, i] * certainty
        likelihood -= 0.5 * p[:, i] ** 2 * certainty
    normal[:, range(7), range(7)] += 1e-6
    return normal, gradient, likelihood, structure * disk, (counts, good, background * even, others)


def _moved(own: Floats, start: Floats, middle: Numbers, look: TemplateLook) -> Floats:
    """Return the rates of a window in one that may lie some pixels away from it."""
    shift = middle - np.floor(start[:, 5:].T + 0.5).astype(np.int64)
    result = own.copy()
    moved = np.flatnonzero((shift != 0).any(axis=0))
    if len(moved):
        reach = int(look.offset.max())
        square = np.zeros((len(moved), 6 * reach + 1, 6 * reach + 1))
        square[:, look.offset[0] + 3 * reach, look.offset[1] + 3 * reach] = own[moved]
        rows = look.offset[0] + 3 * reach + shift[0, moved][:, None]
        columns = look.offset[1] + 3 * reach + shift[1, moved][:, None]
        result[moved] = square[np.arange(len(moved))[:, None], rows, columns]
    return result


def _gain(counts: Floats, good: Floats, background: Floats, others: Floats, above: Floats) -> Floats:
    """Return by how much a disk makes the counts likelier than a higher background on top of the neighbours."""
    rate = np.maximum(background + above + others, LEAST_RATE)
    higher = np.ones(len(counts))
    for _ in range(6):  # the likeliest factor of the background without the disk, by Fisher scoring
        without = np.maximum(higher[:, None] * background + others, LEAST_RATE)
        slope = (good * background * (counts / without - 1)).sum(axis=1)
        higher = np.maximum(higher + slope / (good * background**2 / without).sum(axis=1), 0.5 * higher)
    without = np.maximum(higher[:, None] * background + others, LEAST_RATE)
    return np.asarray((good * (counts * np.log(rate / without) - (rate - without))).sum(axis=1))


def _rows(
    p: Floats, covariance: Floats, score: Floats, good: NDArray[np.bool_], found: Candidates, look: TemplateLook
) -> Floats:
    """Return the numbers of each disk, `COLUMNS`; NaN for errors and inside where the fit failed."""
    rows = np.full((len(p), len(COLUMNS)), np.nan)
    variance = np.einsum("mii->mi", covariance)
    rows[:, 0], rows[:, 1] = p[:, 5], p[:, 6]
    rows[:, 2] = p[:, 1] * np.pi * look.radius**2
    rows[:, 4], rows[:, 5] = score, np.where(good, p[:, 0], found.background)
    fitted = np.flatnonzero(good)
    height = p[fitted, 1]
    rows[fitted, 3] = np.sqrt(variance[fitted, 5:].mean(axis=1))
    rows[fitted, 6], rows[fitted, 7], rows[fitted, 8] = p[fitted, 2] / height, p[fitted, 3] / height, p[fitted, 4]
    rows[fitted, 9] = np.sqrt(variance[fitted, 2:4].mean(axis=1)) / height
    rows[fitted, 10] = np.sqrt(variance[fitted, 4])
    return rows
