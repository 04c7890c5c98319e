"""Strain and rotation of a crystal from the places of its Bragg disks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.lattice import Lattices, find_lattice, fit_lattices
from esteemcore.diffraction.origins import along_plane, origins, recorded
from esteemcore.diffraction.table import carried_notes

Floats = NDArray[np.float64]

FLOOR_PX = 0.02
"""What a place may be off beside its counting error: the inner structure of disks that no fit follows."""

LEAST_SHARE = 0.6
"""Share of the disks of a position that lie on the lattice of its crystal; two crystals share half at most."""

WHOLE_SHARE = 0.85
"""The same below which another crystal is likely to lie over it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Strain:
    """Strain of the specimen relative to the mean of a reference; x along detector columns, y along rows.

    Attributes
    ----------
    exx, eyy, exy : ndarray of float64, shape (y, x)
        Components of the strain, positive where the specimen is stretched; NaN where there are too few disks, or most
        of them do not lie on the lattice.
    rotation : ndarray of float64, shape (y, x)
        Rotation of the lattice in rad, positive from x towards y.
    sigma : ndarray of float64, shape (y, x)
        Standard error of a component of the strain: root mean square of those of exx, eyy and exy.
    component_sigma : ndarray of float64, shape (y, x, 4)
        Standard errors of exx, eyy, exy and rotation, that of the mean of the reference included.
    disks : ndarray of int64, shape (y, x)
        Disks that took part.
    center : ndarray of float64, shape (y, x, 2)
        Direct beam (row, column) in px, from the whole lattice; NaN where there is no strain.
    lattice : ndarray of float64, shape (2, 2)
        The two reciprocal vectors (row, column) of the reference in px.
    notes : tuple of str
        What is wrong, in words: first with the frames, as the table of disks tells it.
    provenance : Provenance
    """

    exx: Floats
    eyy: Floats
    exy: Floats
    rotation: Floats
    sigma: Floats
    component_sigma: Floats
    disks: NDArray[np.int64]
    center: Floats
    lattice: Floats
    notes: tuple[str, ...]
    provenance: Provenance


def strain(
    disks: Any,
    scan_shape: tuple[int, int],
    reference: ArrayLike | None = None,
    *,
    distortion: ArrayLike | Ellipse | None = None,
    center: ArrayLike | Descan | None = None,
    least_disks: int = 4,
) -> Strain:
    r"""Fit a lattice to the disks of every position and compare it with that of a reference region.

    Parameters
    ----------
    disks : DiskTable
        Disks of one crystal, e.g. of `find_disks`.
    scan_shape : tuple of int
        ``(y, x)`` of the scan.
    reference : array_like of bool, shape (y, x), optional
        Where the strain is zero on average. Default: everywhere, so that strains are relative to the mean.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes ellipses of circles on the detector, (row, column), see `Ellipse.matrix`.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column) within a quarter of a lattice vector, where something stops it. Default: the brightest
        disk.
    least_disks : int
        Disks that a position needs, the direct beam included; 4 at least.

    Returns
    -------
    Strain

    Raises
    ------
    ParameterError
        If the reference does not belong to the scan, is empty, or holds no disks; if `distortion` or `center` cannot
        be.
    CalibrationError
        If the disks of the reference do not lie on one lattice.

    Notes
    -----
    With the reciprocal vectors as rows of :math:`G` at a position and of :math:`G_0` in the reference, the deformation
    gradient of the specimen is :math:`F = G^{-1} G_0`, because reciprocal vectors shrink where the specimen is
    stretched. It is split into a rotation and a symmetric stretch (:math:`F = R U`, strain :math:`U - 1`), so that a
    turned lattice is not strained. :math:`G_0` is such that the mean of F over the reference is one.

    Errors follow from `DiskTable.sigma_px`, enlarged at those positions where the residuals of the fit are larger than
    it says. Two crystals have at most every second point of their lattices in common; where fewer than 60 % of the
    disks lie on the lattice, the position shows another crystal, and there is no strain.

    References
    ----------
    V. B. Ozdol et al., Applied Physics Letters 106 (2015) 253107 (strain maps from 4D-STEM).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> lattice = np.array([[h, k] for h in (-1, 0, 1) for k in (-1, 0, 1)])
    >>> place = np.concatenate([32 + 12 * lattice, 32 + 12 * lattice @ np.diag([1, 1 / 1.02])])
    >>> frame, one = np.repeat([0, 1], 9), np.ones(18)
    >>> bright = np.where((lattice == 0).all(axis=1), 1000.0, 50.0)
    >>> table = diffraction.DiskTable(frame, *place.T, np.tile(bright, 2), 0.1 * one, 20 * one)
    >>> found = diffraction.strain(table, (1, 2), reference=[[True, False]])
    >>> print(f"exx {found.exx[0, 1]:.3f}, turned by {abs(found.rotation[0, 1]):.3f} rad")
    exx 0.020, turned by 0.000 rad
    """
    shape = checks.shape_2d("scan_shape", scan_shape)
    positions = shape[0] * shape[1]
    least = checks.integer("least_disks", least_disks, minimum=4)
    chosen = np.ones(shape, np.bool_) if reference is None else checks.boolean_mask("reference", reference, shape)
    if not chosen.any():
        raise ParameterError("reference is False everywhere; mark the positions where the strain is zero on average")
    frame = checks.flat_indices("disks.frame", disks.frame, positions)
    place = np.stack([disks.y, disks.x], axis=1).astype(np.float64)
    sigma = np.asarray(disks.sigma_px, np.float64)
    known = np.isfinite(place).all(axis=1) & np.isfinite(sigma) & (sigma > 0)
    frame, place, sigma = frame[known], place[known], np.hypot(sigma[known], FLOOR_PX)
    intensity = np.asarray(disks.intensity, np.float64)[known]
    if not chosen.ravel()[frame].any():
        raise ParameterError("no disk lies in the reference; choose it on the crystal, or find disks first")
    matrix = distortion_matrix(distortion)
    place = place @ np.linalg.inv(matrix).T
    origin = origins(frame, place, intensity, shape, center, np.linalg.inv(matrix))
    within = chosen.ravel()[frame]
    basis = find_lattice((place - origin[frame])[within], int(chosen.sum()))
    origin = along_plane(origin, shape, 0.3 * float(np.hypot(*basis[0])))
    found = fit_lattices(frame, place, sigma, origin, basis, least)
    fitted = np.isfinite(found.basis).all(axis=(1, 2)) & (found.share >= LEAST_SHARE)
    other = ~fitted & ~(found.share >= LEAST_SHARE) & (np.bincount(frame, minlength=positions) >= least)
    there = fitted & chosen.ravel()
    if not there.any():
        raise CalibrationError(
            f"no position of the reference has the {least} disks that a lattice needs, most of them on it: take one "
            "within a grain"
        )
    each = np.where(fitted[:, None, None], found.basis, np.nan)
    zero = np.linalg.inv(np.linalg.inv(each[there]).mean(axis=0))
    components = _components(each, zero)
    variances = _variances(np.where(fitted[:, None, None], found.covariance, np.nan), zero, there)
    made = record(
        "diffraction.strain",
        {
            "scan_shape": shape,
            "reference": chosen,
            "distortion": matrix,
            "center": recorded(center),
            "least_disks": least,
        },
        input_digest=digest(frame, place, sigma, intensity),
    )
    exx, eyy, exy, rotation = (np.ascontiguousarray(components[:, i]).reshape(shape) for i in range(4))
    return Strain(
        exx=exx,
        eyy=eyy,
        exy=exy,
        rotation=rotation,
        sigma=np.sqrt(variances[:, :3].mean(axis=1)).reshape(shape),
        component_sigma=np.sqrt(variances).reshape(*shape, 4),
        disks=found.used.reshape(shape),
        center=np.where(fitted[:, None], found.origin @ matrix.T, np.nan).reshape(*shape, 2),
        lattice=zero,
        notes=carried_notes(disks, _notes(found, fitted, other, chosen, components, least)),
        provenance=made,
    )


def _variances(covariance: Floats, zero: Floats, reference: NDArray[np.bool_]) -> Floats:
    """Return the variances of exx, eyy, exy and rotation with that of the mean of the reference, (positions, 4)."""
    inverse = np.linalg.inv(zero)
    spread = np.einsum("ij,njk,ik->ni", inverse, covariance, inverse)  # along rows and columns
    n = int(reference.sum())
    mean = spread[reference].sum(axis=0) / n**2
    spread = np.maximum(np.where(reference[:, None], (1 - 2 / n) * spread, spread) + mean, 0)  # a part of the mean
    both = spread.sum(axis=1) / 4
    return np.stack([spread[:, 1], spread[:, 0], both, both], axis=1)


def _components(each: Floats, zero: Floats) -> Floats:
    """Return exx, eyy, exy and rotation of every position, NaN where there is no lattice."""
    result = np.full((len(each), 4), np.nan)
    known = np.isfinite(each).all(axis=(1, 2))
    gradient = np.linalg.inv(each[known]) @ zero  # [[yy, yx], [xy, xx]]
    angle = np.arctan2(gradient[:, 0, 1] - gradient[:, 1, 0], gradient[:, 0, 0] + gradient[:, 1, 1])
    c, s = np.cos(angle), np.sin(angle)
    turned = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1) @ gradient
    result[known] = np.stack(
        [turned[:, 1, 1] - 1, turned[:, 0, 0] - 1, 0.5 * (turned[:, 0, 1] + turned[:, 1, 0]), angle], axis=1
    )
    return result


def _notes(
    found: Lattices,
    fitted: NDArray[np.bool_],
    other: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    components: Floats,
    least: int,
) -> tuple[str, ...]:
    """Return what the user should know before the maps are believed."""
    notes = []
    missing = int((~fitted & ~other).sum())
    if missing:
        notes.append(
            f"{missing} of {fitted.size} positions have fewer than {least} disks on the lattice, or all in a line: NaN"
        )
    if other.any():
        notes.append(
            f"{int(other.sum())} of {fitted.size} positions show another crystal, or none: fewer than "
            f"{100 * LEAST_SHARE:.0f} % of their disks lie on the lattice of the reference: NaN"
        )
    part = int((found.share[fitted] < WHOLE_SHARE).sum())
    if part:
        notes.append(
            f"at {part} positions {100 * (1 - WHOLE_SHARE):.0f} to {100 * (1 - LEAST_SHARE):.0f} % of the disks do not "
            "lie on the lattice: another grain over it, or false disks"
        )
    loose = found.excess[fitted]
    if (loose > 2).any():
        notes.append(
            f"at {int((loose > 2).sum())} positions disks lie up to {loose.max():.1f} times as far from their lattices "
            "as their errors say: overlapping grains, a bent crystal or inner structure; the errors there are enlarged "
            "by that"
        )
    large = np.nanmax(np.abs(components[:, :3]), initial=0.0)
    if large > 0.1:
        notes.append(f"strains up to {100 * large:.0f} % were found: is it one crystal, and the reference on it?")
    if int((fitted & chosen.ravel()).sum()) < 9:
        notes.append("fewer than 9 positions make the reference: its own error is in all maps")
    return tuple(notes)
