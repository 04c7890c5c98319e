"""What a first pass over the disks teaches about the inside of each reflection."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.look import USUAL_INSIDE
from esteemcore.diffraction.origins import beam_places, given_beam
from esteemcore.diffraction.table import DiskTable, bragg_vector_map

LEAST_DISKS, ENOUGH_DISKS, SCAN_PER_DISK = 3, 12, 300
"""Disks that a reflection must have before its inside is learnt: the first number on a small scan, the second on a
large one, where false disks meet by chance; one for so many positions in between."""
SPREADS = (0.06, 0.09, 0.13, 0.2, 0.3, 0.45, 0.65, 1.0)
"""True spreads from position to position that are weighed against each other, in units of the usual spread: nothing is
taken as known better than the least of them."""
ROUNDS = 40
"""Rounds in which it is learnt how often each of these spreads occurs."""
OVERSURE, STEEPNESS, MOST_OVERSURE = 1.1, 13.0, 4.0
"""Factor by which the variance of a gradient is larger than the fits say, because whole steps are taken where counts
are few; the power of the radius, relative to that of the usual disk, with which it falls; its limit, either way."""


@dataclasses.dataclass(frozen=True, eq=False)
class InnerStructure:
    """What the disks of each reflection look like, as mean and spread over the positions that have them.

    Attributes
    ----------
    place : ndarray of float64, shape (k, 2)
        Places (row, column) of the reflections from the direct beam in px.
    inside : ndarray of float64, shape (k, 3)
        By how much they are brighter at the lower and at the right edge than in the middle, relative, and by how much
        the background grows per px away from the direct beam, relative.
    sd : ndarray of float64, shape (k, 3)
        The true spread of that from position to position, without the noise of counting.
    """

    place: NDArray[np.float64]
    inside: NDArray[np.float64]
    sd: NDArray[np.float64]

    @property
    def known(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Place, structure and spread, as the compiled loops take them."""
        place, inside, sd = (np.ascontiguousarray(a, np.float64) for a in (self.place, self.inside, self.sd))
        return place, inside, sd


def learn_structure(
    disks: DiskTable,
    frame_shape: tuple[int, int],
    radius_px: float,
    *,
    center: ArrayLike | Descan | None = None,
) -> InnerStructure:
    """Learn what the disks of each reflection look like inside from the table of a first pass.

    A gradient across a disk and a shift of it look alike in few counts, so what all positions together say about the
    gradient makes the place of each disk surer. The reflections are the peaks of the Bragg-vector map. The spread from
    position to position, beyond the errors, is learnt as well, so that what varies is not taken as fixed: how often
    each of some spreads occurs is learnt from all reflections, and what a reflection of few disks lacks is taken from
    that (empirical Bayes).

    The errors themselves depend on what no single disk tells. One that is bright in the middle has a fainter edge than
    a flat disk, so its counts say less about gradient and place than the fit believes, up to three times in variance;
    it also looks smaller, by which the disks of such a reflection are known together.

    Parameters
    ----------
    disks : DiskTable
        Of `Disks` without a structure.
    frame_shape : tuple of int
        ``(ky, kx)`` of the detector.
    radius_px : float
        Radius of a disk in px.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column), where a beam stop hides it. Default: the brightest disk of each frame.

    Returns
    -------
    InnerStructure
        Without reflections where there are too few disks to learn from.
    """
    columns = (disks.tilt_y, disks.tilt_x, disks.slope, disks.tilt_sd, disks.slope_sd, disks.measured_radius_px)
    if any(column is None for column in columns):
        raise ParameterError("the table does not say what its disks look like inside; take one that Disks has made")
    values = np.stack(columns).astype(np.float64)  # type: ignore[arg-type]
    nothing = InnerStructure(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3)))
    known = np.isfinite(values).all(axis=0)
    if known.sum() < LEAST_DISKS:
        return nothing
    n = int(disks.frame.max()) + 1
    origin = disks.brightest(n) if center is None else _beam(disks, center, n)
    middle = np.array(frame_shape) // 2
    place = reflections(disks, frame_shape, radius_px, origin)
    if not len(place):
        return nothing
    from_beam = np.stack([disks.y, disks.x], axis=1) - origin[disks.frame]
    distance, which = cKDTree(place - middle).query(from_beam)
    near = known & (distance < 0.5 * radius_px)
    which, values = which[near], values[:, near]
    number = np.bincount(which, minlength=len(place))
    tilt_sd = values[3] * np.sqrt(_oversure(values[5], disks.intensity[near], which, number))[which]
    learnt = [
        _mean_and_spread(found, sd, shrunk, which, len(place), usual)
        for found, sd, shrunk, usual in zip(
            values[:3], (tilt_sd, tilt_sd, values[4]), values[[3, 3, 4]], USUAL_INSIDE, strict=True
        )
    ]
    enough = number >= _least_disks(origin)
    inside, sd = (np.stack([part[i] for part in learnt], axis=1)[enough] for i in (0, 1))
    return InnerStructure((place - middle)[enough], inside, sd)


def _beam(disks: DiskTable, center: ArrayLike | Descan, n: int) -> NDArray[np.float64]:
    """Return the given direct beam of each of the first n positions."""
    given = given_beam(center)
    if disks.visits is not None:
        given = beam_places(given, disks.visits.shape)
    places = given.reshape(-1, 2)
    if 1 < len(places) < n:
        raise ParameterError(f"center has {len(places)} places, but a disk lies at position {n - 1}; give one for each")
    return np.array(np.broadcast_to(places, (n, 2)) if len(places) == 1 else places[:n])


def _least_disks(origin: NDArray[np.float64]) -> float:
    """Return how many disks a reflection must have on a scan of these positions."""
    return float(np.clip(len(origin) / SCAN_PER_DISK, LEAST_DISKS, ENOUGH_DISKS))


def _oversure(
    radius: NDArray[np.float64],
    intensity: NDArray[np.float32],
    which: NDArray[np.int64],
    number: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return by what factor the variances of the gradients of each reflection are larger than the fits say."""
    order = np.argsort(radius, kind="stable")
    share = np.cumsum(intensity[order].astype(np.float64))
    usual = radius[order][np.searchsorted(share, share[-1] / 2)]
    mean = np.bincount(which, radius, len(number)) / np.maximum(number, 1)
    there = number > 0
    noise = ((radius - mean[which]) ** 2).sum() / np.maximum(len(which) - there.sum(), 1)
    true = np.maximum(((mean - usual)[there] ** 2 - noise / number[there]).mean(), 1e-9)
    mean = usual + (mean - usual) * true / (true + noise / np.maximum(number, 1))
    mean[~there] = usual
    factor: NDArray[np.float64] = OVERSURE * (usual / mean) ** STEEPNESS
    return np.clip(factor, 1 / MOST_OVERSURE, MOST_OVERSURE)


def _mean_and_spread(
    found: NDArray[np.float64],
    sd: NDArray[np.float64],
    fitted_sd: NDArray[np.float64],
    which: NDArray[np.int64],
    k: int,
    usual: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread of a number for each of k reflections, as they are known before the next disk is seen.

    ``found`` was shrunk by a prior of spread `usual`, under which the fits gave it the error ``fitted_sd``; ``sd`` is
    what that error should have been. The means have the same prior. Each of `SPREADS` explains the disks of a
    reflection more or less well; how often each occurs is what explains those of all reflections best.
    """
    shrunk = np.clip(1 - fitted_sd**2 / usual**2, 0.02, 1)
    found, variance = found / shrunk, sd**2 / shrunk
    evidence, means, variances = np.empty((3, len(SPREADS), k))
    for i, spread in enumerate(usual * np.array(SPREADS)):
        weight = 1 / (variance + spread**2)
        total = np.bincount(which, weight, k) + usual**-2
        moment = np.bincount(which, weight * found, k)
        evidence[i] = np.bincount(which, np.log(weight) - weight * found**2, k) + moment**2 / total - np.log(total)
        means[i], variances[i] = moment / total, 1 / total + spread**2
    likelihood = np.exp(0.5 * (evidence - evidence.max(axis=0)))
    several = np.bincount(which, minlength=k) > 1
    often = np.full(len(SPREADS), 1 / len(SPREADS))
    part = likelihood / likelihood.sum(axis=0)
    for _ in range(ROUNDS if several.any() else 0):
        part = often[:, None] * likelihood
        part /= part.sum(axis=0)
        often = 0.98 * part[:, several].mean(axis=1) + 0.02 / len(SPREADS)
    mean = (part * means).sum(axis=0)
    return np.clip(mean, -1.5, 1.5), np.sqrt((part * (variances + (means - mean) ** 2)).sum(axis=0))


def reflections(
    disks: DiskTable, frame_shape: tuple[int, int], radius_px: float, origin: ArrayLike
) -> NDArray[np.float64]:
    """Return the peaks (row, column) of the Bragg-vector map with the direct beam moved to the middle, in px."""
    fine = 2
    found = ndimage.gaussian_filter(bragg_vector_map(disks, frame_shape, oversampling=fine, origin=origin), 1.5)
    reach = 2 * max(1, round(0.5 * radius_px * fine)) + 1
    least = _least_disks(np.asarray(origin)) / (2 * np.pi * 8 * 1.5**2)
    peak = (found == ndimage.maximum_filter(found, reach)) & (found > least)
    place: NDArray[np.float64] = (np.argwhere(peak) + 0.5) / fine - 0.5
    return place
