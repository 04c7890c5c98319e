"""Grains of a map of classes or orientations: how large, of which shape, how oriented, and beside which."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.orientation_result import Orientations
from esteemcore.diffraction.orientation_tilt import product

Floats = NDArray[np.float64]

STRAY = 3.0
"""Medians of the angle from the mean beyond which an orientation is another one, and does not count."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Grains:
    """Grains: positions of one label that touch each other, the largest first.

    Attributes
    ----------
    map : ndarray of int64, shape (y, x)
        Grain of each position, -1 where there is none.
    label : ndarray of int64, shape (k,)
        Class or cluster of each grain.
    center : ndarray of float64, shape (k, 2)
        Mean position (row, column).
    area_nm2, area_sigma_nm2 : ndarray of float64, shape (k,)
        Area, and its standard error: of each position at the boundary any part may belong to the grain.
    diameter_nm : ndarray of float64, shape (k,)
        That of the circle of this area.
    aspect : ndarray of float64, shape (k,)
        Long over short axis of the ellipse with the same second moments.
    angle_deg : ndarray of float64, shape (k,)
        Angle of its long axis from x towards y, in [0, 180).
    at_edge : ndarray of bool, shape (k,)
        Cut by the edge of the scan: larger than it looks.
    rotations : ndarray of float64, shape (k, 4)
        Mean orientation, a unit quaternion as in `Orientations`; NaN without orientations.
    spread_deg, sigma_deg : ndarray of float64, shape (k,)
        Root mean square angle of the positions from the mean, and the standard error of the mean, if positions err
        independently.
    neighbours : ndarray of int64, shape (m, 2)
        Pairs of grains that touch.
    boundary_nm : ndarray of float64, shape (m,)
        Length of their boundary along rows and columns.
    misorientation_deg, misorientation_sigma_deg : ndarray of float64, shape (m,)
        Least angle between their mean orientations, and its standard error; NaN without orientations and between
        phases.
    provenance : Provenance
    """

    map: NDArray[np.int64]
    label: NDArray[np.int64]
    center: Floats
    area_nm2: Floats
    area_sigma_nm2: Floats
    diameter_nm: Floats
    aspect: Floats
    angle_deg: Floats
    at_edge: NDArray[np.bool_]
    rotations: Floats
    spread_deg: Floats
    sigma_deg: Floats
    neighbours: NDArray[np.int64]
    boundary_nm: Floats
    misorientation_deg: Floats
    misorientation_sigma_deg: Floats
    provenance: Provenance

    def __len__(self) -> int:
        """Return the number of grains."""
        return len(self.label)


def grain_statistics(
    labels: ArrayLike, *, scan_step_nm: float = 1.0, orientations: Orientations | None = None, least: int = 4
) -> Grains:
    """Measure the grains of a map.

    Parameters
    ----------
    labels : array_like of int, shape (y, x)
        Class or cluster of each position, e.g. `Classes.labels` or `OrientationClusters.labels`; -1 for none.
    scan_step_nm : float
        Distance of the positions in nm.
    orientations : Orientations, optional
        Of the same scan, for mean orientations and the angles between neighbours.
    least : int
        Positions of the smallest grain that counts.

    Returns
    -------
    Grains

    Raises
    ------
    ParameterError
        If the arrays do not fit.

    Notes
    -----
    Positions touch along rows and columns. A mean orientation is that of most: positions whose angle from it is more
    than three times the median, such as those half a turn about the beam away, are left out.

    Examples
    --------
    >>> from esteemcore import diffraction
    >>> found = diffraction.grain_statistics([[0, 0, 0, 1], [0, 0, 0, 1], [-1, -1, 1, 1]], scan_step_nm=2)
    >>> print(found.area_nm2, found.boundary_nm, found.at_edge)
    [24. 16.] [6.] [ True  True]
    """
    given = checks.array("labels", labels)
    if given.ndim != 2 or given.size == 0 or given.dtype.kind not in "iu":
        raise ParameterError(f"labels have shape {given.shape} and dtype {given.dtype}; expected integers (y, x)")
    step = checks.positive("scan_step_nm", scan_step_nm, "nm")
    fewest = checks.integer("least", least, minimum=1)
    if orientations is not None and orientations.disks.shape != given.shape:
        raise ParameterError(
            f"orientations are of a scan of {orientations.disks.shape}, but labels have shape {given.shape}"
        )
    grain, label = _pieces(given.astype(np.int64), fewest)
    k = len(label)
    size = np.bincount(grain[grain >= 0], minlength=k)
    padded = np.pad(grain, 1, constant_values=-2)
    near = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    rim = ((near != grain) & (near != -2)).any(axis=0)
    y, x = np.indices(grain.shape)
    center, aspect, angle = np.zeros((k, 2)), np.ones(k), np.zeros(k)
    at_edge = np.zeros(k, np.bool_)
    at_edge[np.unique(grain[(near == -2).any(axis=0) & (grain >= 0)])] = True
    rotations, spread, phase = np.full((k, 4), np.nan), np.full(k, np.nan), np.full(k, -1)
    sigma = np.full(k, np.nan)
    for g in range(k):
        own = grain == g
        place = np.stack([y[own], x[own]], axis=1).astype(np.float64)
        center[g] = place.mean(axis=0)
        moments = (place - center[g]).T @ (place - center[g]) / len(place) + np.eye(2) / 12  # of squares
        values, axes = np.linalg.eigh(moments)
        aspect[g] = np.sqrt(values[1] / values[0])
        angle[g] = np.degrees(np.arctan2(axes[0, 1], axes[1, 1])) % 180
        if orientations is not None:
            rotations[g], spread[g], sigma[g], phase[g] = _orientation(orientations, own)
    pairs, boundary = _touching(grain, k)
    turn = np.full(len(pairs), np.nan)
    for m, (i, j) in enumerate(pairs):
        if orientations is not None and phase[i] >= 0 and phase[i] == phase[j]:
            symmetry = orientations.library.symmetries[phase[i]]
            turn[m] = _angles_deg(rotations[[j]], rotations[i], symmetry)[0]
    made = record(
        "diffraction.grain_statistics",
        {
            "scan_step_nm": step,
            "least": fewest,
            "orientations": None if orientations is None else orientations.provenance.as_dict(),
        },
        input_digest=digest(given),
    )
    area = size.astype(np.float64) * step**2
    both = np.hypot(sigma[pairs[:, 0]], sigma[pairs[:, 1]])
    return Grains(
        map=grain,
        label=label,
        center=center,
        area_nm2=area,
        area_sigma_nm2=step**2 * np.sqrt(np.bincount(grain[rim & (grain >= 0)], minlength=k) / 12),
        diameter_nm=2 * np.sqrt(area / np.pi),
        aspect=aspect,
        angle_deg=angle,
        at_edge=at_edge,
        rotations=rotations,
        spread_deg=spread,
        sigma_deg=sigma,
        neighbours=pairs,
        boundary_nm=boundary * step,
        misorientation_deg=turn,
        misorientation_sigma_deg=np.where(np.isnan(turn), np.nan, both),
        provenance=made,
    )


def _pieces(labels: NDArray[np.int64], least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the grain of each position, the largest first, and the label of each grain."""
    grain = np.full(labels.shape, -1, np.int64)
    of: list[int] = []
    for value in np.unique(labels[labels >= 0]):
        piece, n = ndimage.label(labels == value)
        grain[piece > 0] = piece[piece > 0] - 1 + len(of)
        of += [int(value)] * n
    size = np.bincount(grain[grain >= 0], minlength=len(of))
    order = np.argsort(-size, kind="stable")[: int((size >= least).sum())]
    rank = np.full(len(of) + 1, -1, np.int64)  # the last is that of no grain
    rank[order] = np.arange(len(order))
    return rank[grain], np.array(of, np.int64)[order]


def _touching(grain: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the pairs of grains that touch, (m, 2), and how many of their positions do."""
    sides = [np.stack([a.ravel(), b.ravel()]) for a, b in ((grain[1:], grain[:-1]), (grain[:, 1:], grain[:, :-1]))]
    both = np.sort(np.concatenate(sides, axis=1), axis=0)
    both = both[:, (both[0] >= 0) & (both[0] != both[1])]
    key, count = np.unique(both[0] * max(k, 1) + both[1], return_counts=True)
    return np.stack(np.divmod(key, max(k, 1)), axis=1), count.astype(np.float64)


def _orientation(orientations: Orientations, own: NDArray[np.bool_]) -> tuple[Floats, float, float, int]:
    """Return mean orientation, spread and standard error in degrees, and phase of most of the positions."""
    phases = orientations.phase[own][:, 0]
    if not (phases >= 0).any():
        return np.full(4, np.nan), np.nan, np.nan, -1
    phase = int(np.bincount(phases[phases >= 0]).argmax())
    each = orientations.rotations[own][:, 0][phases == phase]
    symmetry = orientations.library.symmetries[phase]
    middle = each[:: max(1, len(each) // 64)]
    mean = middle[np.argmin([np.median(_angles_deg(each, q, symmetry)) for q in middle])]  # one of the many
    off = _angles_deg(each, mean, symmetry)
    kept = each[off <= STRAY * max(float(np.median(off)), 1e-3)]
    equal = product(symmetry[:, None], kept[None])
    nearest = np.take_along_axis(equal, np.abs(equal @ mean).argmax(axis=0)[None, :, None], axis=0)[0]
    mean = np.linalg.eigh(nearest.T @ nearest)[1][:, -1]
    spread = float(np.sqrt(np.mean(_angles_deg(kept, mean, symmetry) ** 2)))
    return mean, spread, spread / np.sqrt(max(len(kept) - 1, 1)), phase


def _angles_deg(each: Floats, one: Floats, symmetry: Floats) -> Floats:
    """Return the least angles between orientations and one, symmetry included."""
    cos = np.abs(product(symmetry[:, None], each[None]) @ one).max(axis=0)
    return np.asarray(np.degrees(2 * np.arccos(np.minimum(cos, 1))))
