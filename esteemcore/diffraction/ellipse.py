"""The ellipse that a detector or a lens makes of circles."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, optimize

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.data4d import spec_of
from esteemcore.diffraction.descan import Descan, checked_radius
from esteemcore.diffraction.distortion import ellipse_matrix
from esteemcore.diffraction.origins import recorded
from esteemcore.diffraction.rings import Rings, sum_rings

Floats = NDArray[np.float64]

INNER_RADII = 2.0
"""Where rings begin, in radii of the direct beam."""
OUTLIER = 4.0
"""Pixels that are this many standard deviations brighter than their ring belong to Bragg disks."""
LARGEST_SIGMA = 0.01
"""Standard error of the ratio above which there was no ring to measure."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ellipse:
    """What circles round the direct beam look like on the detector.

    Attributes
    ----------
    ratio : float
        Long over short axis, 1 or more.
    angle_deg : float
        Direction of the long axis from +x (columns) towards +y (rows) in degrees, 0 to 180.
    center : (float, float)
        Centre of the rings (row, column) in px, for the mean place of the direct beam over the scan.
    ratio_sigma, angle_sigma_deg : float
        Standard errors.
    radius_px : float
        Radius of the direct beam as it was found.
    frames : int
        Frames that were used.
    notes : tuple of str
        What is doubtful, in words.
    provenance : Provenance
    """

    ratio: float
    angle_deg: float
    center: tuple[float, float]
    ratio_sigma: float
    angle_sigma_deg: float
    radius_px: float
    frames: int
    notes: tuple[str, ...]
    provenance: Provenance = dataclasses.field(repr=False)

    @property
    def matrix(self) -> Floats:
        """The distortion (row, column), shape (2, 2): circles times this are the ellipses; their area is kept."""
        return ellipse_matrix(self.ratio, self.angle_deg)


def fit_ellipse(
    data4d: Any,
    *,
    mask: ArrayLike | None = None,
    center: str | ArrayLike | Descan | None = None,
    radius_px: float | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Ellipse:
    r"""Find the ellipse under which the rings of a scan are sharpest.

    Frames with the fewest electrons in Bragg disks, amorphous areas where there are any, are laid on each other by
    their direct beams. Of this pattern :math:`N`, the ellipse minimises

    .. math:: \chi^2 = \sum_k \frac{(N_k - w_k p(r_k))^2}{w_k p(r_k)}

    with the elliptical radius r, the mean profile p over it, and the frames w that saw each pixel: halos of amorphous
    films and powder rings alike. Bragg disks are left out, frame by frame where they are found, and where they stand
    out of their ring.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Whole counts of electrons; of large scans some rows are read, piece by piece.
    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good. Dead rows and hot pixels are found without it.
    center : str, Descan, or array_like, shape (2,) or (y, x, 2), optional
        Where a beam stop hides the direct beam: its place, or ``"friedel"``, see `find_descan`.
    radius_px : float, optional
        Radius of a disk in px; needed with `center`, otherwise measured.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    Ellipse

    Raises
    ------
    ParameterError
        If the data are no whole counts (y, x, ky, kx) on 24 x 24 pixels or more.
    CalibrationError
        If there is no direct beam, a beam stop hides it, or no ring tells the ellipse.

    Examples
    --------
    >>> from esteemcore import diffraction, simulate
    >>> scan = simulate.polycrystal((6, 6), (64, 64), grains=1, electrons=20000, ellipse=(1.06, 30))
    >>> found = diffraction.fit_ellipse(scan.frames())
    >>> abs(found.ratio - 1.06) < 0.01, abs(found.angle_deg - 30) < 4
    (True, True)
    """
    spec = spec_of(data4d)
    if min(spec.frame_shape) < 24:
        raise ParameterError(f"frames have {spec.frame_shape} pixels; rings need 24 x 24 or more")
    valid = None if mask is None else checks.boolean_mask("mask", mask, spec.frame_shape)
    steps = Progress(3, progress, cancel)
    if (center is None) != (radius_px is None):
        raise ParameterError("center and radius_px belong together: give both where a beam stop hides the direct beam")
    radius = None if radius_px is None else checked_radius(data4d, radius_px)
    counts = Counts(data4d, lambda: steps.step(0), valid)
    steps.step()
    rings = sum_rings(counts, radius, center)
    steps.step()
    fit = _Fit(rings)
    best, covariance = fit.minimise()
    size = float(np.hypot(best[0], best[1]))
    ratio = (1 + size) / (1 - size)
    along = np.array([best[0], best[1]]) / max(size, 1e-12)
    size_sigma = float(np.sqrt(along @ covariance[:2, :2] @ along))
    across = np.array([-along[1], along[0]])
    turn_sigma = float(np.sqrt(across @ covariance[:2, :2] @ across)) / max(size, 1e-12)
    ratio_sigma = 2 * size_sigma / (1 - size) ** 2
    steps.step()
    if not ratio_sigma < LARGEST_SIGMA:
        raise CalibrationError(
            f"no ring tells the ellipse: its ratio would be {ratio:.3f} with an error of {ratio_sigma:.3f}; take data "
            "of an amorphous film or a powder, or more of them"
        )
    return Ellipse(
        ratio,
        float(np.rad2deg(0.5 * np.arctan2(best[1], best[0])) % 180),
        (rings.mean_beam[0] + float(best[2]), rings.mean_beam[1] + float(best[3])),
        ratio_sigma,
        min(float(np.rad2deg(0.5 * turn_sigma)), 90.0),
        rings.radius,
        rings.frames,
        _notes(rings),
        record(
            "diffraction.fit_ellipse",
            {"mask": valid, "center": recorded(center), "radius_px": radius},
            input_digest=digest(rings.pattern, rings.weight),
        ),
    )


def _notes(rings: Rings) -> tuple[str, ...]:
    if not rings.crystalline:
        return rings.notes
    return (
        *rings.notes,
        "the scan has hardly any amorphous frames: faint Bragg disks are left in the rings, and the ellipse may be off "
        "by several times its error; compare it with one of an amorphous film or a powder",
    )


class _Fit:
    """Chi squared of a pattern against its own radial profile, and what minimises it."""

    def __init__(self, rings: Rings) -> None:
        y, x = np.indices(rings.pattern.shape, dtype=np.float64)
        self.dy, self.dx = y - rings.center[0], x - rings.center[1]
        far = np.hypot(self.dy, self.dx)
        ky, kx = rings.pattern.shape
        edge = min(rings.center[0], ky - 1 - rings.center[0], rings.center[1], kx - 1 - rings.center[1])
        seen = rings.weight > 0.5 * rings.weight.max()
        self.chosen = seen & (far > INNER_RADII * rings.radius) & (far < edge + 0.4 * (np.hypot(ky, kx) / 2 - edge))
        if self.chosen.sum() < 200:
            raise CalibrationError(
                f"only {int(self.chosen.sum())} pixels lie between the direct beam, of radius {rings.radius:.1f} px, "
                "and the edge of the detector: there is no room for a ring"
            )
        self.pattern, self.weight = rings.pattern, rings.weight

    def predicted(self, p: Floats) -> Floats:
        """Return the counts of the chosen pixels if the pattern had its mean profile along ellipses."""
        dy, dx = self.dy[self.chosen] - p[2], self.dx[self.chosen] - p[3]
        u, v = (1 - p[0]) * dx - p[1] * dy, -p[1] * dx + (1 + p[0]) * dy
        r = np.hypot(u, v) / np.sqrt(max(1 - p[0] ** 2 - p[1] ** 2, 1e-6))
        i = r.astype(np.int64)
        f = r - i
        counts, weight = self.pattern[self.chosen], self.weight[self.chosen]
        n = int(i.max()) + 2
        total = np.bincount(i, (1 - f) * counts, n) + np.bincount(i + 1, f * counts, n)
        seen = np.bincount(i, (1 - f) * weight, n) + np.bincount(i + 1, f * weight, n)
        profile = total / np.maximum(seen, 1e-9)
        return np.asarray(weight * ((1 - f) * profile[i] + f * profile[i + 1]))

    def loss(self, p: Floats) -> float:
        """Return chi squared."""
        if p[0] ** 2 + p[1] ** 2 > 0.25:
            return np.inf
        expected = self.predicted(p)
        return float(((self.pattern[self.chosen] - expected) ** 2 / np.maximum(expected, 0.5)).sum())

    def minimise(self) -> tuple[Floats, Floats]:
        """Return shear along x and y, diagonal shear and centre, with their covariance; Bragg disks left out."""
        best = np.zeros(4)
        steps = np.diag([0.03, 0.03, 0.5, 0.5])
        for _ in range(4):
            simplex = np.concatenate([[best], best + steps])
            options = {"initial_simplex": simplex, "xatol": 1e-6, "fatol": 1e-4, "maxiter": 500}
            best = optimize.minimize(self.loss, best, method="Nelder-Mead", options=options).x
            if not self._leave_out_disks(best):
                break
            steps = steps / 3
        excess = self.loss(best) / self.chosen.sum()
        step = np.array([2e-3, 2e-3, 0.05, 0.05])
        curvature = np.empty((4, 4))
        for i in range(4):
            for j in range(4):
                a, b = np.eye(4)[i] * step[i], np.eye(4)[j] * step[j]
                corners = self.loss(best + a + b) - self.loss(best + a - b) - self.loss(best - a + b)
                curvature[i, j] = (corners + self.loss(best - a - b)) / (4 * step[i] * step[j])
        try:
            covariance = 2 * max(excess, 1.0) * np.linalg.inv(curvature)
        except np.linalg.LinAlgError:
            return best, np.full((4, 4), np.inf)
        variances = np.diag(covariance)
        return best, covariance if (variances > 0).all() else np.full((4, 4), np.inf)

    def _leave_out_disks(self, p: Floats) -> bool:
        """Leave out pixels that stand out of their ring, and their neighbours; False if there are none."""
        expected = self.predicted(p)
        off = (self.pattern[self.chosen] - expected) / np.sqrt(np.maximum(expected, 0.5))
        spread = max(1.0, 1.4826 * float(np.median(np.abs(off - np.median(off)))))
        out = np.zeros(self.chosen.shape, np.bool_)
        out[self.chosen] = off > OUTLIER * spread
        if out.sum() < 3:
            return False
        kept = self.chosen & ~ndimage.binary_dilation(out)
        if kept.sum() < 0.3 * self.chosen.sum():
            return False
        self.chosen = kept
        return True
