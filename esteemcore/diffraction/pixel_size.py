"""The size of a detector pixel in reciprocal space, from a crystal that is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.special import gammaln

from esteemcore import optics
from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.lattice import find_lattice
from esteemcore.diffraction.origins import along_plane, origins, recorded
from esteemcore.diffraction.ring_scale import Scale, gathered, scales
from esteemcore.diffraction.spacings import checked_spacings
from esteemcore.diffraction.table import carried_notes

Floats = NDArray[np.float64]

OPPOSITE_PX = 1.0
"""Distance within which a reflection lies opposite to another one."""
BEAM_PX = 3.0
"""Distance from the direct beam within which a disk is the beam itself."""
ROUGHLY = 1.3
"""Factor by which a rough pixel size may be wrong."""
LEAST_GAIN = 5.0
"""Logarithm of the odds against reflections anywhere from which rings and reflections belong together."""
LIKELIER = 4.0
"""Logarithm of the odds by which one size must be likelier than any other."""
OTHER = 0.02
"""Relative difference from which a size is another one."""
LEAST_SHARE = 0.65
"""Share of the reflections within reach of the rings that must lie on them."""
CHANCE = 1e-3
"""Probability below which it is no accident that rings among the others are empty."""
DOUBTED = 0.03
"""The same where half as many reflections as lie on rings lie beyond them, which tells another crystal, too."""
FEW_RINGS = 3
"""Rings on which reflections of one crystal may lie at another size, the rest of them beyond all spacings."""
LONELY = 0.5
"""Share of the disks that other positions have, too, below which each is a reflection of its own, as of a powder."""
MOST_DISKS = 2000
"""Single disks of a powder that are used at most, evenly taken from all."""
LARGEST_NM = 1.0
"""Spacing from which it may be in Å."""
LARGEST_SHEAR = 0.01
"""Standard error of the ellipse above which the reflections do not tell it."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PixelSize:
    """What a pixel of the detector is in reciprocal space.

    Attributes
    ----------
    per_nm, per_nm_sigma : float
        Size of a pixel in 1/nm, and its standard error. Where there is an ellipse, that of the geometric mean of its
        axes.
    ratio, angle_deg : float
        Ellipse that the detector makes of circles, as in `Ellipse`.
    ratio_sigma : float
        Standard error of the ratio; 0 where the distortion was given.
    spacings_nm : ndarray of float64, shape (k,)
        Distances of the lattice planes.
    reflections : ndarray of int64, shape (k,)
        How many reflections of the scan belong to each.
    explained : float
        Share of the reflections within reach of the spacings that lie on their rings.
    residual_px : float
        Root mean square distance of these from their rings.
    beam_energy_kev : float or None
        Energy of the electrons, if it was given.
    notes : tuple of str
        What is doubtful, in words: first about the frames, as the table of disks tells it.
    provenance : Provenance
    """

    per_nm: float
    per_nm_sigma: float
    ratio: float
    angle_deg: float
    ratio_sigma: float
    spacings_nm: Floats
    reflections: NDArray[np.int64]
    explained: float
    residual_px: float
    beam_energy_kev: float | None
    notes: tuple[str, ...]
    provenance: Provenance = dataclasses.field(repr=False)

    @property
    def mrad(self) -> float:
        """Size of a pixel in mrad; needs the beam energy."""
        return self.per_nm * self._mrad_nm()

    @property
    def mrad_sigma(self) -> float:
        """Its standard error."""
        return self.per_nm_sigma * self._mrad_nm()

    @property
    def matrix(self) -> Floats:
        """The distortion (row, column), shape (2, 2), see `Ellipse.matrix`."""
        c, s = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        turn = np.array([[s, c], [c, -s]])
        return np.asarray(turn @ np.diag([self.ratio**0.5, self.ratio**-0.5]) @ turn.T)

    def _mrad_nm(self) -> float:
        if self.beam_energy_kev is None:
            raise ParameterError("the beam energy is not known; give pixel_size beam_energy_kev to get mrad")
        return 1e3 * optics.wavelength_nm(self.beam_energy_kev)


def pixel_size(
    disks: Any,
    scan_shape: tuple[int, int],
    spacings: Any,
    *,
    beam_energy_kev: float | None = None,
    distortion: ArrayLike | Ellipse | None = None,
    center: ArrayLike | Descan | None = None,
    rough_per_nm: float | None = None,
) -> PixelSize:
    r"""Measure the size of a pixel, and the ellipse of the detector, on a crystal whose lattice planes are known.

    Disks that many positions have in common are joined to reflections; where hardly any are, as in a powder of small
    grains, each disk is one. The scale is looked for at which their
    distances from the direct beam are those of the planes, and scale, ellipse and place of the beam are fitted:

    .. math:: 1 / d_k^2 = x^T A x - b \cdot x, \quad p = (\det A)^{1/4}

    by weighted least squares that give no weight to what lies on no ring (Tukey). A single crystal will do as well as
    a powder.

    Parameters
    ----------
    disks : DiskTable
        E.g. of `find_disks`.
    scan_shape : tuple of int
        ``(y, x)`` of the scan.
    spacings : array_like, shape (k,), or orix.crystal_map.Phase
        Distances of the lattice planes in nm: all that the detector shows from the largest one on. Those of a phase are
        calculated, which needs the extra ``diffraction``.
    beam_energy_kev : float, optional
        For the size in mrad.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes ellipses of circles on the detector, (row, column), if it is known. Default: it is fitted.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column), where something stops it. Default: a plane through the brightest disks.
    rough_per_nm : float, optional
        What the size is within 30 %. Default: anything at which the rings lie among the disks.

    Returns
    -------
    PixelSize

    Raises
    ------
    ParameterError
        If there are no disks, or spacings, distortion or center cannot be.
    CalibrationError
        If the reflections do not lie on these rings, rings among the others are empty that should not be, another size
        fits nearly as well, or they do not tell the ellipse.

    Notes
    -----
    The standard error is that of the reflections, enlarged by what they scatter more than their own errors say. It does
    not know of an error of the spacings, nor of a crystal that is strained. Reflections of thin crystals that do not
    quite lie on the Ewald sphere are seen nearer to the beam, by some 0.1 % at an excitation error of 0.2/nm.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> gold = np.array([0.2355, 0.2039, 0.1442, 0.1230])  # nm
    >>> rng = np.random.default_rng(0)
    >>> r, angle = 1 / gold[rng.integers(0, 4, 60)] / 0.25, rng.uniform(0, 2 * np.pi, 60)  # 0.25 1/nm per px
    >>> place = np.concatenate([[[64, 64]], 64 + np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1)])
    >>> bright = np.append(1000.0, np.full(60, 50.0))
    >>> one = np.ones(61)
    >>> table = diffraction.DiskTable(np.zeros(61, int), *place.T, bright, 0.1 * one, 20 * one)
    >>> found = diffraction.pixel_size(table, (1, 1), gold, beam_energy_kev=200)
    >>> print(f"{found.per_nm:.3f} 1/nm or {found.mrad:.3f} mrad per px, ratio {found.ratio:.3f}")
    0.250 1/nm or 0.627 mrad per px, ratio 1.000
    """
    shape = checks.shape_2d("scan_shape", scan_shape)
    positions = shape[0] * shape[1]
    planes = checked_spacings(spacings)
    energy = None if beam_energy_kev is None else checks.positive("beam_energy_kev", beam_energy_kev, "keV")
    rough = None if rough_per_nm is None else checks.positive("rough_per_nm", rough_per_nm, "1/nm")
    matrix = distortion_matrix(distortion)
    frame = checks.flat_indices("disks.frame", disks.frame, positions)
    place = np.stack([disks.y, disks.x], axis=1).astype(np.float64)
    sigma = np.asarray(disks.sigma_px, np.float64)
    known = np.isfinite(place).all(axis=1) & np.isfinite(sigma) & (sigma > 0)
    frame, place, sigma = frame[known], place[known] @ np.linalg.inv(matrix).T, sigma[known]
    if not len(frame):
        raise ParameterError("there are no disks with a standard error; find disks first")
    origin = origins(frame, place, np.asarray(disks.intensity)[known], shape, center, np.linalg.inv(matrix))
    origin = along_plane(origin, shape, BEAM_PX)
    vectors = place - origin[frame]
    beside = np.hypot(*vectors.T) > BEAM_PX
    if beside.sum() < 3:
        raise CalibrationError("hardly any disk lies beside the direct beam: there is nothing to measure")
    spots, error, common = gathered(vectors[beside], sigma[beside], positions)
    powder = common < LONELY
    if powder:
        some = np.flatnonzero(beside)[:: math.ceil(beside.sum() / MOST_DISKS)]
        spots, error = vectors[some], sigma[some]
    if len(spots) < 3:
        raise CalibrationError(
            f"the disks make {len(spots)} reflections beside the direct beam; three at least are needed"
        )
    rings, length = 1 / planes, np.hypot(*spots.T)
    low, high = rings[0] / length.max(), rings[-1] / length.min()
    if rough is not None:
        low, high = max(low, rough / ROUGHLY), min(high, rough * ROUGHLY)
    found = scales(spots, error, rings, low, high, distortion is None) if low < high else []
    best = _best(found, spots, rings, rough, distortion is None)
    reach = length * best.per_nm < rings[-1] * 1.02
    beyond, used = int((~reach).sum()), int((best.ring >= 0).sum())
    if powder and beyond > used and rough is None:  # disks anywhere do so, those of a powder do not
        raise CalibrationError(
            f"hardly two positions show the same disks, as of a powder, but at the likeliest size, {best.per_nm:.4g} "
            f"1/nm per px, {used} of them lie on rings and {beyond} beyond the smallest spacing: is it this crystal? "
            "Give all spacings that the detector shows, or rough_per_nm"
        )
    single = _one_lattice(spots)
    empty = None if single else _empty(best, spots, beyond)
    if empty is not None and rough is None:
        raise CalibrationError(
            f"at the likeliest size, {best.per_nm:.4g} 1/nm per px, {empty}: is it this crystal? Give only spacings of "
            "planes that reflect strongly enough to be seen, or rough_per_nm"
        )
    ratio, angle, ratio_sigma = _ellipse(best, matrix, distortion is not None)
    made = record(
        "diffraction.pixel_size",
        {
            "scan_shape": shape, "spacings": planes, "beam_energy_kev": energy, "distortion": matrix,
            "fitted": distortion is None, "center": recorded(center), "rough_per_nm": rough,
        },
        input_digest=digest(frame, place, sigma),
    )  # fmt: skip
    return PixelSize(
        per_nm=best.per_nm,
        per_nm_sigma=best.per_nm_sigma,
        ratio=ratio,
        angle_deg=angle,
        ratio_sigma=ratio_sigma,
        spacings_nm=planes,
        reflections=np.bincount(best.ring[best.ring >= 0], minlength=len(planes)),
        explained=best.explained,
        residual_px=best.residual_px,
        beam_energy_kev=energy,
        notes=carried_notes(
            disks, _notes(best, powder, planes, beyond, single, distortion is None, rough is None, empty)
        ),
        provenance=made,
    )


def _best(found: list[Scale], spots: Floats, rings: Floats, rough: float | None, elliptic: bool) -> Scale:
    """Return the likeliest way, if it is likely at all and no other one is nearly as likely."""
    hint = "" if rough is not None else ", or give rough_per_nm"
    if not found or found[0].gain < LEAST_GAIN:
        raise CalibrationError(
            f"the {len(spots)} reflections do not lie on rings of these spacings"
            + ("" if rough is None else f" at about {rough:g} 1/nm per px")
            + "; is it this crystal, are all its spacings given that the detector shows, and are they in nm? Take more "
            f"reflections{hint}"
        )
    best = found[0]
    if best.explained < LEAST_SHARE:
        raise CalibrationError(
            f"only {100 * best.explained:.0f} % of the reflections lie on rings of these spacings, at "
            f"{best.per_nm:.4g} 1/nm per px: is another crystal there, or are spacings missing?"
        )
    for other in found[1:]:
        if abs(math.log(other.per_nm / best.per_nm)) > OTHER and best.lead(other) < LIKELIER:
            raise CalibrationError(
                f"{best.per_nm:.4g} and {other.per_nm:.4g} 1/nm per px explain the reflections equally well; take "
                f"reflections of more spacings{hint}"
            )
    if elliptic and best.shear_sigma > LARGEST_SHEAR:
        raise CalibrationError(
            f"the reflections lie in too few directions to tell an ellipse (error {best.shear_sigma:.3f}): give "
            "distortion, from fit_ellipse or of earlier data"
        )
    return best


def _ellipse(best: Scale, given: Floats, fixed: bool) -> tuple[float, float, float]:
    """Return ratio, angle of the long axis in degrees, and error of the ratio; those of a matrix if it is fixed."""
    # a circle is where the form is one: where it is small, the ellipse is long
    values, axes = np.linalg.eigh(np.linalg.inv(given @ given.T) if fixed else best.form)
    angle = float(np.degrees(np.arctan2(axes[0, 0], axes[1, 0])) % 180)
    return float(np.sqrt(values[1] / values[0])), angle, 0.0 if fixed else best.shear_sigma


def _one_lattice(spots: Floats) -> bool:
    """Return whether reflections are those of one crystal."""
    try:
        find_lattice(np.concatenate([[[0.0, 0.0]], spots]), 1)
    except CalibrationError:
        return False
    return True


def _empty(best: Scale, spots: Floats, beyond: int) -> str | None:
    """Say which rings are empty among the others, if that is no accident; opposite reflections are no two draws."""
    used = best.ring >= 0
    opposite = cKDTree(-spots[used]).query_ball_point(spots[used], OPPOSITE_PX, return_length=True) > 0
    draws = int(used.sum()) - int(opposite.sum()) // 2
    number = np.bincount(best.ring[used])
    seen = int((number > 0).sum())
    if seen == len(number):
        return None
    ways = gammaln(len(number) + 1) - gammaln(seen + 1) - gammaln(len(number) - seen + 1)
    chance = float(ways) + draws * math.log(seen / len(number))  # of all draws on as few rings, its logarithm
    if chance > math.log(DOUBTED if beyond > used.sum() / 2 else CHANCE):
        return None
    return f"{len(number) - seen} of {len(number)} rings are empty among {int(used.sum())} reflections on the others"


def _notes(
    best: Scale, powder: bool, planes: Floats, beyond: int, single: bool, free: bool, anywhere: bool, empty: str | None
) -> tuple[str, ...]:
    """Say what is doubtful."""
    notes = []
    if powder:
        notes.append(
            "most disks are seen at one or two positions only: each was taken for a reflection of its own, as a powder "
            "has them"
        )
    used = int((best.ring >= 0).sum())
    rings = len(np.unique(best.ring[best.ring >= 0]))
    if used < 8:
        notes.append(f"only {used} reflections were found: their common errors do not average out")
    if rings == 1:
        notes.append("all reflections lie on one ring: that it is this one follows from where the others would be")
    if best.explained < 0.8:
        notes.append(
            f"{100 * (1 - best.explained):.0f} % of the reflections lie on no ring: another phase, or false disks"
        )
    if planes[0] > LARGEST_NM:
        notes.append(f"the largest spacing is {planes[0]:g} nm: spacings are in nm, not in Å, of which ten are 1 nm")
    if empty is not None:
        notes.append(f"{empty}: another crystal, or spacings of planes that reflect too weakly to be seen")
    if single and anywhere and rings <= FEW_RINGS:
        notes.append(
            f"the reflections are those of one crystal, on {rings} {'ring' if rings == 1 else 'rings'}: at a larger "
            "size some of them may lie beyond all spacings that were given; give more spacings, or rough_per_nm"
        )
    if single and free:
        notes.append(
            "all reflections lie on one lattice: one crystal looks like another one through another ellipse, so that "
            "it must be known which one it is; a distortion from fit_ellipse makes this sure"
        )
    if best.excess > 5:
        notes.append(
            f"reflections lie {best.excess:.1f} times as far from their rings as their errors say: a strained or "
            "another crystal, or disks with an inner structure; the error is enlarged by that"
        )
    if beyond > used:
        notes.append(
            f"more reflections lie beyond the smallest spacing that was given, {beyond}, than on rings, {used}: "
            "another crystal, or spacings are missing"
        )
    elif beyond:
        notes.append(f"{beyond} reflections lie beyond the smallest spacing that was given, and do not count")
    return tuple(notes)
