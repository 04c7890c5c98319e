"""Orientation of the crystal at every position, by matching its disks with templates."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import digest, record
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.disks import processors
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.orientation_disks import offsets
from esteemcore.diffraction.orientation_library import TemplateLibrary
from esteemcore.diffraction.orientation_match import match, prepare
from esteemcore.diffraction.orientation_result import Orientations
from esteemcore.diffraction.orientation_tilt import around
from esteemcore.diffraction.origins import recorded
from esteemcore.diffraction.table import DiskTable, carried_notes

Floats = NDArray[np.float64]

POOR = 0.6
"""Median correlation below which the templates do not look like the data."""
AMBIGUOUS = 0.05
"""Confidence below which two orientations explain a pattern as well."""


def orientation(
    disks: DiskTable,
    scan_shape: tuple[int, int],
    library: TemplateLibrary,
    pixel_per_nm: float,
    *,
    n_best: int = 3,
    tolerance_px: float = 2.0,
    apart_deg: float = 5.0,
    gamma: float = 0.5,
    mirrored: bool = True,
    refine: bool = True,
    least_disks: int = 3,
    azimuth_steps: int | None = None,
    center: ArrayLike | Descan | None = None,
    distortion: ArrayLike | Ellipse | None = None,
    rotation_deg: float = 0.0,
    flip: bool = False,
    threads: int | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Orientations:
    r"""Find the orientations and the phase whose templates look most like the disks of every position.

    Parameters
    ----------
    disks : DiskTable
        Disks, e.g. of `find_disks`.
    scan_shape : tuple of int
        ``(y, x)`` of the scan.
    library : TemplateLibrary
        Templates of all phases, e.g. of `template_library`.
    pixel_per_nm : float
        Size of a detector pixel in reciprocal space in 1/nm: the angle of a pixel in rad over the wavelength in nm.
    n_best : int
        Orientations kept per position, 2 at least.
    tolerance_px : float
        Distance in px at which a disk no longer belongs to a spot; at most half the distance of the innermost spot
        from the beam.
    apart_deg : float
        Orientations nearer to a better one of the same phase than this, symmetry included, are the same one.
    gamma : float
        Intensities are compared after raising them to this power: 0.5 lets faint reflections count as their noise
        allows, 1 leaves the word to the strongest ones.
    mirrored : bool
        Use every template mirrored as well, which is that of another orientation: needed where the templates cover the
        orientations of the Laue group only, as those of `template_library` do.
    refine : bool
        Find the tilt between the templates, from a paraboloid through the correlations of those round each of the best.
        Without it orientations are those of templates, turned about the beam.
    least_disks : int
        Disks that a position needs besides the direct beam.
    azimuth_steps : int, optional
        Steps of a turn about the beam in the search; the angle is refined after it. Default: so many that the outermost
        spots move by half the tolerance.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column) in px, where something stops it. Default: the brightest disks, where they lie near a
        plane over the scan; elsewhere the plane.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes ellipses of circles on the detector, (row, column), see `Ellipse.matrix`.
    rotation_deg, flip
        How the detector is turned against the scan, see `esteemcore.fourd.Geometry`. By default their axes agree.
    threads : int, optional
        Default: all processors.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    Orientations

    Raises
    ------
    ParameterError
        If a parameter does not fit, or no disk lies where the templates have spots.
    CalibrationError
        If the brightest disks of most positions cannot be the direct beam.

    Notes
    -----
    The correlation of a template with spots s and a frame with disks d is

    .. math:: C(\alpha) = \sum_{s, d} w_s w_d \max(0, 1 - |r_d - R_\alpha r_s|^2 / \tau^2),
        \qquad w \propto I^\gamma, \quad \sum_s w_s^2 = \sum_d w_d^2 = 1,

    with the tolerance :math:`\tau`; in the end each disk counts with one spot and each spot with one
    disk. All turns :math:`\alpha` about the beam are searched, mirrored templates too. A template is turned only if a
    bound of its correlation, from the radii alone, reaches those of the best: nothing is missed.

    Patterns of thin crystals are nearly unchanged by half a turn about the beam. Where the confidence is low, look at
    the second orientation.

    References
    ----------
    E. F. Rauch and L. Dupuy, Arch. Metall. Mater. 50 (2005) 87; N. Cautaerts et al., Ultramicroscopy 237 (2022) 113517.

    Examples
    --------
    A square lattice that is turned by 20 degrees from x towards y:

    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> square = np.array([[0, 2], [2, 0], [0, -2], [-2, 0], [2, 2], [-2, -2.0]])  # (row, column) in 1/nm
    >>> library = diffraction.TemplateLibrary([0, 6], square, [9, 9, 9, 9, 1, 1], [[1, 0, 0, 0]])
    >>> c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    >>> place = 32 + 10 * np.concatenate([[[0, 0]], square @ [[c, -s], [s, c]]])
    >>> one = np.ones(7)
    >>> bright = np.array([1000, 90, 90, 90, 90, 10, 10])
    >>> table = diffraction.DiskTable(np.zeros(7, int), *place.T, bright, 0.1 * one, 20 * one)
    >>> found = diffraction.orientation(table, (1, 1), library, 0.1, mirrored=False)
    >>> print(f"{found.correlation[0, 0, 0]:.3f}", np.degrees(-2 * np.arcsin(found.rotations[0, 0, 0, 3])).round(1))
    1.000 20.0
    """
    shape = checks.shape_2d("scan_shape", scan_shape)
    positions = shape[0] * shape[1]
    if not isinstance(library, TemplateLibrary):
        raise ParameterError(f"library is a {type(library).__name__}; expected a TemplateLibrary")
    pixel = checks.positive("pixel_per_nm", pixel_per_nm, "1/nm")
    wanted = checks.integer("n_best", n_best, minimum=2, maximum=64)
    tolerance = checks.positive("tolerance_px", tolerance_px, "px")
    apart = checks.positive("apart_deg", apart_deg, "degrees")
    power = checks.positive("gamma", gamma)
    least = checks.integer("least_disks", least_disks, minimum=2)
    workers = processors() if threads is None else checks.integer("threads", threads, minimum=1)
    near, reach = (f(np.hypot(*library.vectors.T)) / pixel for f in (np.min, np.max))
    if tolerance > near / 2:
        raise ParameterError(
            f"tolerance_px is {tolerance:g}, but the innermost spots of the templates are {near:.1f} px from the beam; "
            f"expected half of that at most, {near / 2:.1f} px. Is pixel_per_nm {pixel:g} right?"
        )
    steps = _steps(azimuth_steps, reach, tolerance)
    prepared = prepare(library, pixel, tolerance, steps, power)
    matrix = distortion_matrix(distortion)
    frame, offset, bright, doubts = offsets(disks, shape, 0.3 * near, center, matrix, rotation_deg, bool(flip))
    radius, azimuth = np.hypot(*offset.T), np.arctan2(*offset.T)
    part = (radius > tolerance) & (radius < prepared.reach + tolerance) & (bright > 0)
    enough = np.bincount(frame[part], minlength=positions)
    if not part.any():
        raise ParameterError(
            f"no disk lies within {prepared.reach:.0f} px of the direct beam, where the templates have spots: is "
            f"pixel_per_nm {pixel:g} right?"
        )
    part &= enough[frame] >= least
    order = np.flatnonzero(part)[np.lexsort((-bright[part], frame[part]))]
    rows = np.searchsorted(frame[order], np.arange(positions + 1))
    weight = bright[order] ** power
    norm = np.sqrt(np.bincount(frame[order], weight**2, positions))
    weight /= norm[frame[order]]
    steps_done = Progress(positions, progress, cancel)
    matches = match(
        rows,
        (radius[order], azimuth[order], weight),
        prepared,
        (tolerance, steps, bool(mirrored), math.cos(math.radians(apart) / 2)),
        around(library, bool(mirrored)) if refine else None,
        wanted,
        workers,
        steps_done.step,
        threading.Event(),
    )
    best = np.argsort(-matches.best[..., 0], axis=1, kind="stable")[..., None]
    result, rotation = (
        np.take_along_axis(m, best, axis=1).reshape(*shape, wanted, -1) for m in (matches.best, matches.rotation)
    )
    found = np.take_along_axis(matches.found, best, axis=1).reshape(*shape, wanted, 3)
    there = found[..., 0] >= 0
    correlation = np.where(there, result[..., 0], np.nan)
    first, second = correlation[..., 0], np.nan_to_num(correlation[..., 1])
    confidence = 1 - second / np.where(first > 0, first, np.nan)
    made = record(
        "diffraction.orientation",
        {
            "scan_shape": shape, "library": library.digest(), "pixel_per_nm": pixel, "n_best": wanted,
            "tolerance_px": tolerance, "apart_deg": apart, "gamma": power, "mirrored": bool(mirrored),
            "refine": bool(refine), "least_disks": least, "azimuth_steps": steps, "center": recorded(center),
            "distortion": matrix, "rotation_deg": rotation_deg, "flip": bool(flip),
        },
        input_digest=digest(frame, offset, bright),
    )  # fmt: skip
    return Orientations(
        rotations=rotation,
        correlation=correlation,
        confidence=confidence,
        phase=found[..., 2],
        template=found[..., 0],
        mirrored=found[..., 1] > 0,
        matched=result[..., 2].astype(np.int64),
        disks=enough.reshape(shape),
        library=library,
        notes=carried_notes(disks, doubts + _notes(there[..., 0], first, confidence, least)),
        provenance=made,
    )


def _steps(given: int | None, reach: float, tolerance: float) -> int:
    """Return the steps of a turn: the default, or those given if the outermost spots move by the tolerance at most."""
    needed = 2 * math.pi * reach / tolerance
    if needed > 7200:
        raise ParameterError(
            f"tolerance_px is {tolerance:g}, but spots lie up to {reach:.0f} px from the beam: more than 7200 steps "
            "of a turn; give a larger tolerance"
        )
    if given is None:
        return 4 * max(9, math.ceil(needed / 2))
    steps = checks.integer("azimuth_steps", given, minimum=36, maximum=14400)
    if steps < needed:
        raise ParameterError(
            f"azimuth_steps is {steps}: the outermost spots would move by {2 * math.pi * reach / steps:.1f} px, more "
            f"than tolerance_px; expected {math.ceil(needed)} at least"
        )
    return steps


def _notes(there: NDArray[np.bool_], first: Floats, confidence: Floats, least: int) -> tuple[str, ...]:
    """Return what the user should know before the map is believed."""
    notes = []
    missing = int((~there).sum())
    if missing:
        notes.append(
            f"{missing} of {there.size} positions have fewer than {least} disks besides the direct beam, or none on a "
            "spot of any template: no orientation"
        )
    if there.any():
        middle = float(np.median(first[there]))
        if middle < POOR:
            notes.append(
                f"the best templates have a correlation of only {middle:.2f} in the median: is the pixel size right, "
                "the phase in the library, the ellipse taken out, and the excitation error large enough?"
            )
        unsure = float((confidence[there] < AMBIGUOUS).mean())
        if unsure > 0.5:
            notes.append(
                f"at {100 * unsure:.0f} % of the positions a second orientation explains the disks as well as the best"
            )
    return tuple(notes)
