"""Reflections in the summed patterns of components, and which components have the same ones."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

SIGNIFICANCE = 5.0
"""Standard deviations above its surroundings from which a disk in a summed pattern is a reflection."""

FAINT = 0.2
"""A reflection is missing in another pattern that would show one with this part of its intensity, and does not."""

TRACE = 0.07
"""A disk with less than this part of the intensity does not count as the same reflection: a trace of a neighbour."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Reflections:
    """Disks in one summed pattern.

    Attributes
    ----------
    place : ndarray of float64, shape (m, 2)
        (row, column) in px.
    intensity : ndarray of float64, shape (m,)
        Electrons per frame above the surroundings.
    limit : ndarray of float64, shape (ky, kx)
        Intensity per frame that a disk must have at each place to be seen (`SIGNIFICANCE`).
    """

    place: NDArray[np.float64]
    intensity: NDArray[np.float64]
    limit: NDArray[np.float64]

    def found_in(self, other: Reflections, within: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which reflections another pattern has too, and which it clearly does not have."""
        if not len(self.place):
            return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        there = np.zeros(len(self.place), np.bool_)
        if len(other.place):
            far = np.hypot(*(self.place[:, None] - other.place[None]).transpose(2, 0, 1))
            there = (far.min(axis=1) < within) & (other.intensity[far.argmin(axis=1)] > TRACE * self.intensity)
        row, column = np.rint(self.place).astype(np.int64).T
        return there, ~there & (FAINT * self.intensity > other.limit[row, column] * 3 / SIGNIFICANCE)


def reflections(
    total: NDArray[np.float64], frames: float, reference: NDArray[np.float64], radius: float
) -> Reflections:
    """Return the disks that stand out of a summed pattern.

    The counts in the disk round each pixel are compared with those in the ring round it. What all places at the same
    distance from the beam have in common, such as the halo of an amorphous film, is taken off first.

    Parameters
    ----------
    total : ndarray, shape (ky, kx)
        Counts of all frames of the sum.
    frames : float
        Frames in the sum.
    reference : ndarray, shape (2,)
        Direct beam (row, column) in px.
    radius : float
        Radius of a disk in px.
    """
    ky, kx = total.shape
    disk, ring = _kernels(radius)
    inner = np.maximum(signal.fftconvolve(total, disk, "same"), 0)
    outer = np.maximum(signal.fftconvolve(total, ring, "same"), 0)
    share = disk.sum() / ring.sum()
    sigma = np.sqrt(inner + share**2 * outer + 1)
    y, x = np.mgrid[:ky, :kx]
    r = np.hypot(y - reference[0], x - reference[1])
    net = inner - share * outer
    net -= np.maximum(_median_by_radius(net, r, min(ky, kx) / 2), 0)
    reach = math.ceil(radius)
    highest = ndimage.maximum_filter(net, size=2 * math.floor(0.8 * radius) + 1)
    inside = (np.minimum(y, ky - 1 - y) >= reach) & (np.minimum(x, kx - 1 - x) >= reach)
    peak = (net == highest) & (net > SIGNIFICANCE * sigma) & (r > 2 * radius) & inside
    rows, columns = np.nonzero(peak)
    place = np.stack([rows + _vertex(net, rows, columns, 1, 0), columns + _vertex(net, rows, columns, 0, 1)], axis=1)
    return Reflections(place, net[peak] / frames, SIGNIFICANCE * sigma / frames)


def _kernels(radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = math.ceil(radius + 4)
    r = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])

    def soft(size: float) -> NDArray[Any]:
        return np.asarray(np.clip(0.5 - (r - size), 0, 1))

    return soft(radius), soft(radius + 3) - soft(radius + 1)


def _median_by_radius(values: NDArray[Any], r: NDArray[Any], most: float) -> NDArray[np.float64]:
    """Return the median over circles 3 px wide, at every pixel; 0 beyond the largest whole circle."""
    ring = r.astype(np.int64)
    order = np.argsort(ring, axis=None)
    edges = np.searchsorted(ring.ravel()[order], np.arange(ring.max() + 2))
    flat = values.ravel()[order]
    middle = np.zeros(ring.max() + 1)
    for k in range(1, min(len(middle) - 1, int(most))):
        middle[k] = np.median(flat[edges[k - 1] : edges[k + 2]])
    taken: NDArray[np.float64] = middle[ring]
    return taken


def _vertex(net: NDArray[Any], row: NDArray[Any], column: NDArray[Any], dy: int, dx: int) -> NDArray[np.float64]:
    """Return where a parabola through a maximum and its neighbours has its top, relative to the pixel."""
    before, here, after = net[row - dy, column - dx], net[row, column], net[row + dy, column + dx]
    curved = np.maximum(2 * here - before - after, 1e-9)
    return np.asarray(np.clip(0.5 * (after - before) / curved, -0.7, 0.7))


def likeness(patterns: list[Reflections], within: float) -> NDArray[np.float64]:
    """Return how many of the reflections of two patterns both have, weighted by the square root of the intensity.

    Where reflections are tells one crystal from another; how bright they are changes with bending and thickness, and
    does not count beyond the weight. A reflection that the other pattern could not show counts for neither.

    Returns
    -------
    ndarray of float64, shape (k, k)
        From 0, nothing in common, to 1.
    """
    k = len(patterns)
    both, only = np.zeros((k, k)), np.zeros((k, k))
    for a in range(k):
        weight = np.sqrt(patterns[a].intensity)
        for b in range(k):
            there, missing = patterns[a].found_in(patterns[b], within)
            both[a, b], only[a, b] = weight[there].sum(), weight[missing].sum()
    both, only = both + both.T, only + only.T
    return np.divide(both, both + only, out=np.zeros((k, k)), where=both + only > 0)


def mixed(
    patterns: list[Reflections], alike: NDArray[np.float64], frames: NDArray[Any], within: float
) -> NDArray[np.bool_]:
    """Return which patterns are two others on top of each other.

    A pattern is mixed if nearly all of its reflections belong to one or the other of two patterns that are not alike,
    both of which are nearly whole in it, and neither of which explains it alone.
    """
    k = len(patterns)
    has = np.zeros((k, k))
    member: list[list[NDArray[np.bool_]]] = []
    for a in range(k):
        weight = np.sqrt(patterns[a].intensity)
        found = [patterns[a].found_in(patterns[b], within) for b in range(k)]
        member.append([there for there, _ in found])
        for b, (there, missing) in enumerate(found):
            seen = weight[there].sum() + weight[missing].sum()
            has[a, b] = weight[there].sum() / seen if seen else 0.0  # how much of a is in b
    result = np.zeros(k, np.bool_)
    for m in np.argsort(frames):
        weight = np.sqrt(patterns[m].intensity)
        if not len(weight):
            continue
        parts = [a for a in range(k) if a != m and not result[a] and has[a, m] > 0.7]
        for i, a in enumerate(parts):
            for b in parts[:i]:
                if alike[a, b] > 0.5:
                    continue
                either = weight[member[m][a] | member[m][b]].sum() / weight.sum()
                alone = max(weight[member[m][a]].sum(), weight[member[m][b]].sum()) / weight.sum()
                if either > 0.85 and alone < either - 0.15:
                    result[m] = True
    return result
