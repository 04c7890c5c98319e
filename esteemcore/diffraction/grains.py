"""Components of a mixture into classes: what has the same reflections, or the same halo, is one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from esteemcore.diffraction.amorphous import TEXTURE, profile_likeness, radial_profile, texture
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.mixture import Mixture
from esteemcore.diffraction.patterns import Binned, sums
from esteemcore.diffraction.reflections import Reflections, likeness, mixed, reflections

ALIKE = 0.6
"""Likeness from which components are one class: parts of one grain have 0.85 and more, two grains 0.5 and less."""

SURE = 0.9
"""Posterior probability from which a position takes part in the pattern of its component."""

LEAST = 8
"""Positions that a component has at least."""

FOREIGN = 0.1
"""Share of other classes in a component, beyond what the rest of its own class explains, from which it is mixed."""

UNEXPLAINED = 0.15
"""What patterns of other classes leave of one that is a blend of them: 0.05 and less; of a class of its own: 0.5."""

NEIGHBOURS = 6
"""Of the eight neighbours of a position in the core of a class, as many at least belong to the class."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the summed patterns of the components show.

    Attributes
    ----------
    number : ndarray of int64, shape (positions,)
        Component of each position, -1 where it is not sure.
    frames : ndarray of float64, shape (k,)
        Positions of each component.
    rates : ndarray of float64, shape (k, bins)
        Mean binned counts per frame.
    total, covered : ndarray of float64, shape (k, ky, kx)
        See `esteemcore.diffraction.patterns.sums`.
    amorphous : ndarray of bool, shape (k,)
        Without reflections.
    seen : list of Reflections
        Of each component.
    alike : ndarray of float64, shape (k, k)
        Likeness, 0 to 1; 0 between patterns with and without reflections.
    """

    number: NDArray[np.int64]
    frames: NDArray[np.float64]
    rates: NDArray[np.float64]
    total: NDArray[np.float64]
    covered: NDArray[np.float64]
    amorphous: NDArray[np.bool_]
    seen: list[Reflections]
    alike: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Classes made of components.

    Attributes
    ----------
    of : ndarray of int64, shape (k,)
        Class of each component; -1 for those that belong to none: mixed, or too thin or small.
    n : int
        Classes.
    mixed, thin : int
        Components that are two others on top of each other; that are only seen along borders or hardly anywhere.
    closest : float
        Largest likeness of two classes.
    loosest : float
        Least likeness at which components were joined; 1 if none were.
    """

    of: NDArray[np.int64]
    n: int
    mixed: int
    thin: int
    closest: float
    loosest: float


def tolerance(radius: float) -> float:
    """Return how far reflections of one grain may lie apart, in px: bending and strain move them a little."""
    return max(1.0, 0.3 * radius)


def evidence(
    counts: Counts, descan: Descan, radius: float, data: Binned, mixture: Mixture, empty: NDArray[np.bool_]
) -> Evidence:
    """Add up the frames of every component and look at the patterns."""
    k = len(mixture.profiles)
    number = np.where((mixture.share.max(axis=1) > SURE) & ~empty, mixture.share.argmax(axis=1), -1).astype(np.int64)
    frames = np.bincount(number[number >= 0], minlength=k).astype(np.float64)
    rates = np.zeros((k, data.counts.shape[1]))
    for place, block in data.blocks():
        sure = number[place] >= 0
        np.add.at(rates, number[place][sure], block[sure])
    rates /= np.maximum(frames, 1)[:, None]
    total, covered = sums(counts, descan, number, k)
    reference = descan.reference
    amorphous, seen, profiles = np.zeros(k, np.bool_), [], []
    for each in range(k):
        pattern = _filled(total[each], covered[each], frames[each])
        variation, error = texture(pattern, reference, radius)
        amorphous[each] = variation < TEXTURE + 2 * error
        seen.append(reflections(pattern, max(frames[each], 1.0), reference, radius))
        profiles.append(radial_profile(total[each], covered[each], reference))
    alike = likeness(seen, tolerance(radius))
    halo = profile_likeness(np.array([p for p, _ in profiles]), np.array([n for _, n in profiles]), 1.3 * radius + 1)
    both, neither = np.logical_and.outer(amorphous, amorphous), np.logical_and.outer(~amorphous, ~amorphous)
    alike = np.where(both, halo, np.where(neither, alike, 0.0))
    np.fill_diagonal(alike, 1.0)
    return Evidence(number, frames, rates, total, covered, amorphous, seen, alike)


def _filled(total: NDArray[Any], covered: NDArray[Any], frames: float) -> NDArray[np.float64]:
    """Return a sum as if every frame had every pixel."""
    return np.asarray(np.divide(total * frames, covered, out=np.zeros(total.shape), where=covered > 0))


def group(found: Evidence, scan_shape: tuple[int, int], radius: float, n: int | None) -> Grouping:
    """Join the components that are alike, or as many as leave n classes."""
    there = found.frames >= LEAST
    if not there.any():
        there = found.frames >= max(1.0, found.frames.max())
    double = np.zeros(len(there), np.bool_)
    crystals = np.flatnonzero(there & ~found.amorphous)
    part = mixed(
        [found.seen[c] for c in crystals],
        found.alike[np.ix_(crystals, crystals)],
        found.frames[crystals],
        tolerance(radius),
    )
    double[crystals[part]] = True
    if (there & ~double).sum() < (n or 1):
        double[:] = False
    of, _ = _join(found, there & ~double, None)
    foreign = _foreign(found, of)
    if (there & ~double & ~foreign).sum() >= (n or 1):
        double |= foreign
        of, _ = _join(found, there & ~double, None)
    blended = _blended(found, of)
    if (there & ~double & ~blended).sum() >= (n or 1):
        double |= blended
        of, _ = _join(found, there & ~double, None)
    thin = np.zeros(len(there), np.bool_)
    cores = [_core(found, of == c, scan_shape) for c in range(of.max() + 1)]
    if max(cores) > 0:
        for c, core in enumerate(cores):
            if core < 3 <= max(cores):
                thin |= of == c
    if n is not None and (there & ~double & ~thin).sum() < n:
        thin[:] = False
    kept = there & ~double & ~thin
    of, loosest = _join(found, kept, n)
    between = [found.alike[a, b] for a in np.flatnonzero(kept) for b in np.flatnonzero(kept) if of[a] != of[b]]
    return Grouping(
        of, int(of.max()) + 1, int(double.sum()), int((thin | ~there).sum()), float(max(between, default=0.0)), loosest
    )


def _join(found: Evidence, kept: NDArray[np.bool_], n: int | None) -> tuple[NDArray[np.int64], float]:
    """Join groups by the mean likeness of their positions; return the classes, the largest crystal first."""
    groups = [[int(c)] for c in np.flatnonzero(kept)]
    weight = np.outer(found.frames, found.frames)
    loosest = 1.0
    while len(groups) > (n or 1):
        best, pair = -1.0, (0, 0)
        for i, a in enumerate(groups):
            for j, b in enumerate(groups[:i]):
                cell = np.ix_(a, b)
                mean = float((found.alike[cell] * weight[cell]).sum() / max(weight[cell].sum(), 1e-9))
                if mean > best:
                    best, pair = mean, (j, i)
        if n is None and best < ALIKE:
            break
        loosest = min(loosest, best)
        groups[pair[0]] += groups.pop(pair[1])
    groups.sort(key=lambda g: (bool(found.amorphous[g].all()), -found.frames[g].sum()))
    of = np.full(len(kept), -1, np.int64)
    for c, members in enumerate(groups):
        of[members] = c
    return of, loosest


def _foreign(found: Evidence, of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which components are made of their own class and of others, the smallest first.

    The mean counts of a component are fitted by those of the others, with weights that are not negative. It is mixed if
    other classes than its own take more than `FOREIGN` of it, and the fit is worse without them by more than noise is.
    """
    result = np.zeros(len(of), np.bool_)
    for m in np.argsort(found.frames):
        kept = (of >= 0) & ~result
        kept[m] = False
        own, others = np.flatnonzero(kept & (of == of[m])), np.flatnonzero(kept & (of != of[m]))
        if of[m] < 0 or not len(others) or found.frames[own].sum() < found.frames[m]:
            continue
        weight = np.sqrt(found.frames[m] / (found.rates[m] + 1e-3 * found.rates[m].mean() + 1e-9))
        target = found.rates[m] * weight
        shares, off = optimize.nnls((found.rates[np.concatenate([own, others])] * weight).T, target)
        alone = optimize.nnls((found.rates[own] * weight).T, target)[1]
        result[m] = shares[len(own) :].sum() > FOREIGN * shares.sum() and alone**2 - off**2 > 25
    return result


def _blended(found: Evidence, of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the components of classes that are others on top of each other, the smallest first.

    The mean counts of a class are fitted by those of all components of other classes. It is a blend if the fit leaves
    less than `UNEXPLAINED` of the counts, weighted by their noise, and two classes take part in it.
    """
    result = np.zeros(len(of), np.bool_)
    for c in np.argsort([found.frames[of == c].sum() for c in range(of.max() + 1)]):
        members, others = of == c, np.flatnonzero((of >= 0) & (of != c) & ~result)
        if not len(others):
            continue
        frames = found.frames[members]
        rates = (found.rates[members] * frames[:, None]).sum(axis=0) / frames.sum()
        weight = np.sqrt(frames.sum() / (rates + 1e-3 * rates.mean() + 1e-9))
        target = rates * weight
        shares, off = optimize.nnls((found.rates[others] * weight).T, target)
        part = np.sort(np.bincount(of[others], shares))[::-1]
        unexplained = (off**2 - len(target)) / (target @ target)
        if unexplained < UNEXPLAINED and len(part) > 1 and part[1] > FOREIGN * part.sum():
            result |= members
    return result


def _core(found: Evidence, members: NDArray[np.bool_], scan_shape: tuple[int, int]) -> int:
    """Return how many positions of a class have nearly all their neighbours in it: none, if it is only a border."""
    inside = np.zeros(scan_shape)
    inside.ravel()[(found.number >= 0) & members[found.number]] = 1
    around = ndimage.uniform_filter(inside, 3, mode="nearest") * 9 - inside
    return int(((inside > 0) & (around > NEIGHBOURS - 0.5)).sum())
