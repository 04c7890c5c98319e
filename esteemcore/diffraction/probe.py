"""What a disk looks like along its radius: learnt from the brightest disks of a scan, or from the probe in vacuum."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, record
from esteemcore.diffraction.data4d import frame_at, spec_of
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.look import PROFILE_PER_PX
from esteemcore.diffraction.table import DiskTable

if TYPE_CHECKING:
    from esteemcore.diffraction.ellipse import Ellipse

KNOTS_PX = 0.6
"""Distance of the knots of the splines that make a profile."""
BEYOND_PX = 2.5
"""How far beyond the radius a profile reaches; there it is zero."""
MOST_FRAMES = 256
"""Frames that a profile is learnt from."""
LEAST_ELECTRONS = 20000.0
"""Electrons in all disks below which nothing is learnt."""
PATTERNED = 0.25
"""Relative variation inside a disk from which on the probe has a pattern: rings, as a bullseye aperture makes them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A disk along its radius.

    Attributes
    ----------
    r_px : ndarray of float64, shape (n,)
        Distances from the centre, from 0 on, as they would be without the distortion of the detector.
    profile : ndarray of float64, shape (n,)
        Intensity there; its mean over the area of a disk of the radius is 1.
    radius_px : float
        The radius.
    provenance : Provenance
    """

    r_px: NDArray[np.float64]
    profile: NDArray[np.float64]
    radius_px: float
    provenance: Provenance = dataclasses.field(repr=False)

    @property
    def patterned(self) -> bool:
        """True where a flat disk is a bad likeness: intensities inside vary by a quarter and more."""
        inside = self.r_px < 0.75 * self.radius_px
        weight, value = self.r_px[inside], self.profile[inside]
        mean = np.average(value, weights=weight)
        return bool(np.average((value / mean - 1) ** 2, weights=weight) > PATTERNED**2)

    @property
    def table(self) -> NDArray[np.float32]:
        """The profile, and how steeply it falls, as the compiled loops take them: shape (2, n)."""
        falls = -np.gradient(self.profile, self.r_px)
        return np.ascontiguousarray(np.stack([self.profile, falls]), np.float32)


def learn_probe(
    data4d: Any,
    disks: DiskTable,
    radius_px: float,
    *,
    distortion: ArrayLike | Ellipse | None = None,
    mask: ArrayLike | None = None,
) -> Probe:
    """Learn the profile of the disks from frames and from the brightest disk of each, which is the direct beam.

    Gradients across the disks go to zero in the mean over directions. A frame of the probe in vacuum, with shape
    (1, 1, ky, kx), is as good as a scan if it has the same camera length and aperture.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Counts of electrons. At most 256 frames are read.
    disks : DiskTable
        What `find_disks` has found on them.
    radius_px : float
        Radius of a disk in px.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes the ellipses on the detector of circles, see `Ellipse.matrix`.

    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good.

    Returns
    -------
    Probe
        To be given to `Disks`.

    Raises
    ------
    CalibrationError
        If there are not enough electrons to learn from.

    Examples
    --------
    >>> from esteemcore import diffraction, simulate
    >>> scan = simulate.polycrystal((4, 4), (64, 64), radius_px=5, electrons=6000, bullseye=True)
    >>> frames = scan.frames()
    >>> probe = diffraction.learn_probe(frames, diffraction.find_disks(frames, 5, passes=1), 5)
    >>> bool(probe.profile[0] > 1.2), bool(probe.profile[32] < 0.6), float(probe.r_px[32])  # a dark ring
    (True, True, 1.6)
    """
    radius = checks.positive("radius_px", radius_px, "px")
    spec = spec_of(data4d)
    if disks.background is None:
        raise ParameterError("the table does not say what lies under its disks; take one that Disks has made")
    back = np.linalg.inv(distortion_matrix(distortion))
    valid = np.ones(spec.frame_shape, np.bool_)
    if mask is not None:
        valid = checks.boolean_mask("mask", mask, spec.frame_shape)
    chosen = brightest_rows(disks, spec.positions, radius, spec.frame_shape, MOST_FRAMES)
    reach = radius + BEYOND_PX
    ends = math.ceil(reach / KNOTS_PX) + 3
    knots = np.arange(-ends, ends + 1) * KNOTS_PX  # to both sides of the centre, or nothing would tie the middle
    splines = len(knots) - 4
    parts: list[NDArray[np.float64]] = [np.zeros((4, 0))]
    for row in chosen:
        place, index = (float(disks.y[row]), float(disks.x[row])), int(disks.frame[row])
        frame = frame_at(data4d, index)
        rows, columns = (
            np.arange(max(0, math.floor(c - 1.3 * reach)), min(n, math.ceil(c + 1.3 * reach) + 1))
            for c, n in zip(place, spec.frame_shape, strict=True)
        )
        offset = np.stack(np.meshgrid(rows - place[0], columns - place[1], indexing="ij"))
        r = np.hypot(*np.einsum("ij,jyx->iyx", back, offset)).ravel()
        counts = np.asarray(frame[np.ix_(rows, columns)], np.float64).ravel()
        near = (r < reach) & valid[np.ix_(rows, columns)].ravel() & np.isfinite(counts)
        height, under = float(disks.intensity[row]), float(disks.background[row])
        weight = 1 / (height / (np.pi * radius**2) + under)
        even = np.ones(int(near.sum()))
        parts.append(np.stack([r[near], counts[near] - under, even * weight * height**2, even * weight * height]))
    r, above, certainty, pull = np.concatenate(parts, axis=1)
    electrons = float(disks.intensity[chosen].sum(dtype=np.float64))
    if electrons < LEAST_ELECTRONS:
        raise CalibrationError(
            f"the direct beams of {len(chosen)} frames have {electrons:.0f} electrons; {LEAST_ELECTRONS:.0f} are "
            "needed to learn what the probe looks like"
        )
    basis = sum(BSpline.design_matrix(side * r, knots, 3).toarray() for side in (-1, 1)) / 2
    normal, right = basis.T * certainty @ basis, basis.T @ (above * pull)
    r_px = np.arange(math.ceil(reach * PROFILE_PER_PX) + 1) / PROFILE_PER_PX
    spline = BSpline(knots, np.linalg.solve(normal + 1e-6 * np.trace(normal) / splines * np.eye(splines), right), 3)
    profile = spline(np.minimum(r_px, reach - 1e-6))
    profile -= profile[-1]
    profile[-1] = 0.0
    profile *= radius**2 / (2 * (r_px * profile).sum() / PROFILE_PER_PX)
    made = record("diffraction.learn_probe", {"radius_px": radius, "frames": len(chosen)})
    return Probe(r_px, profile, radius, made)


def brightest_rows(
    disks: DiskTable, positions: int, radius: float, shape: tuple[int, int], most: int
) -> NDArray[np.int64]:
    """Return the rows of the brightest disks of frames all over the scan, whole ones that were fitted."""
    place = np.stack([disks.y, disks.x], axis=1)
    whole = ((place > radius) & (place < np.array(shape) - 1 - radius)).all(axis=1) & np.isfinite(disks.sigma_px)
    rows = np.flatnonzero(whole)
    rows = rows[np.argsort(disks.intensity[rows], kind="stable")]
    last = np.full(positions, -1)
    last[disks.frame[rows]] = rows
    found = last[last >= 0]
    return found[:: max(1, -(-len(found) // most))]
