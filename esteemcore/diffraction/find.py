"""Bragg disks of a whole data set."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import stream
from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.diffraction.beam_doubt import beam_notes
from esteemcore.diffraction.beam_ellipse import ellipse_of_beams
from esteemcore.diffraction.data4d import pieces, spec_of
from esteemcore.diffraction.descan import Descan, checked_mask, checked_radius
from esteemcore.diffraction.disks import Disks
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.frame_doubts import frame_notes
from esteemcore.diffraction.hidden_beam import behind_stop
from esteemcore.diffraction.probe import Probe, learn_probe
from esteemcore.diffraction.structure import InnerStructure, learn_structure
from esteemcore.diffraction.table import DiskTable
from esteemcore.diffraction.template import Template


def find_disks(
    data4d: Any,
    radius_px: float,
    *,
    significance: float = 4.0,
    center: str | ArrayLike | Descan | None = None,
    mask: ArrayLike | None = None,
    distortion: ArrayLike | Ellipse | None = None,
    passes: int = 2,
    probe: Probe | Template | None = None,
    overlapping: bool = False,
    threads: int | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> DiskTable:
    """Find the Bragg disks of every frame, each with its place to a fraction of a pixel and the error of that.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Counts of electrons, of any integer or real dtype. Memory maps, Zarr, HDF5 and Dask arrays are read piece by
        piece. For packed or event frames send the reducer `Disks` through a stream.
    radius_px : float
        Radius of a disk in detector px: the semi-angle of the probe.
    significance, mask, threads
        See `Disks`.
    center : str, Descan, or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column), where a beam stop hides it: of all positions, or of each where descan moves it, as
        `find_descan` returns it. ``"friedel"``: have it found from the symmetry of the patterns, as `find_descan`
        does; pixels that never have counts are left out, too. Default: the brightest disk of each frame.
    distortion : Ellipse or array_like, shape (2, 2), optional
        What makes the ellipses on the detector of circles, (row, column), see `Ellipse.matrix`; ``np.eye(2)`` for none.
        Default: the second pass fits ellipses, of axes up to 1.15 to 1, if the outlines of the direct beams clearly are
        such, and a note says so. Disks that (nearly) touch the beam, beams with a pattern, or a radius that is too
        large leave no outline to believe. Nothing is learnt from what is left of a beam behind a beam stop, that is,
        where ``center`` is given, or where ``probe`` is.
    passes : {1, 2}
        2: after a first pass, what the disks of each reflection have in common is learnt (`learn_structure`), and all
        disks are fitted again with it, which makes the places of faint disks some 20 % surer. The second pass takes
        less time than the first. If the direct beams have a pattern along their radius, as a bullseye aperture makes
        it, the second pass fits disks of that pattern (`learn_probe`).
    probe : Probe or Template, optional
        What the disks look like, for all passes: along the radius, see `learn_probe`, or as an image of any pattern,
        see `learn_template`. Default: see `passes`.
    overlapping : bool
        In the second pass, also look for disks that lie partly on others, where crystals lie on top of each other: at
        the points of their lattices, or, where a frame shows no two lattices, beside each disk. Takes several times as
        long; the inside of bright disks may be taken for a second one, see `Disks`.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    DiskTable
        One row per disk. `DiskTable.notes` says what is wrong: no disks, saturated pixels, another radius, values that
        do not scatter as electrons do, brightest disks that are no direct beam; and which ellipse was fitted without
        being given. Results that are made from the table repeat it.

    Raises
    ------
    ParameterError
        If the data are not (y, x, ky, kx), hold values that are not finite outside the mask, or the disks do not fit on
        the frames.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> y, x = np.mgrid[:32, :32]
    >>> frame = np.round(1 + 30 / (1 + np.exp(3 * (np.hypot(y - 12.3, x - 18.6) - 4))))
    >>> table = diffraction.find_disks(frame[None, None], radius_px=4)
    >>> len(table), round(float(table.y[0]), 1), round(float(table.x[0]), 1)
    (1, 12.3, 18.6)
    """
    checks.integer("passes", passes, minimum=1, maximum=2)
    if overlapping and passes == 1:
        raise ParameterError("overlapping disks are told apart in the second pass; leave passes at 2")
    if isinstance(probe, Template) and overlapping:
        raise ParameterError("overlapping disks that look like a template are not told apart; leave out one of both")
    spec = spec_of(data4d)
    unasked: tuple[str, ...] = ()
    if isinstance(center, str):
        steps = Progress(1, None, cancel)
        radius = checked_radius(data4d, radius_px)
        center, mask, unasked = behind_stop(data4d, radius, checked_mask(data4d, mask), center, lambda: steps.step(0))
    structure: InnerStructure | None = None
    table: DiskTable | None = None
    for done in range(passes):
        reducer = Disks(
            radius_px,
            significance=significance,
            center=center,
            mask=mask,
            distortion=distortion,
            structure=structure,
            probe=probe,
            found=table,
            overlapping=overlapping and done > 0,
            threads=threads,
        )
        report = None if progress is None else _part(progress, done, passes)
        found = stream.run({"disks": reducer}, spec, pieces(data4d), progress=report, cancel=cancel)
        latest: DiskTable = found["disks"]
        table = latest
        if done + 1 < passes:
            structure = learn_structure(latest, spec.frame_shape, reducer.radius_px, center=center)
            probe = probe or _pattern(data4d, latest, reducer, distortion)
            if distortion is None and center is None and probe is None:
                distortion = ellipse_of_beams(data4d, latest, reducer.radius_px, reducer.look(spec.frame_shape).valid)
                unasked = () if distortion is None else (_ellipse_note(distortion),)
    valid, known_beam = reducer.look(spec.frame_shape).valid, center is not None
    told = (*latest.notes, *unasked)
    notes = frame_notes(data4d, valid, reducer.radius_px, known_beam=known_beam, told=told)
    if not known_beam and not any("in the middle of the pattern" in note for note in notes):
        notes += beam_notes(latest, spec.scan_shape, reducer.radius_px)
    return dataclasses.replace(latest, notes=notes)


def _ellipse_note(distortion: NDArray[np.float64]) -> str:
    """Return what was fitted without being asked for, in words."""
    axes, stretch, _ = np.linalg.svd(distortion)
    angle = math.degrees(math.atan2(axes[0, 0], axes[1, 0])) % 180
    return (
        f"the direct beams look like ellipses of ratio {stretch[0] / stretch[1]:.3f}, long axis at {angle:.0f} "
        "degrees, and all disks were fitted as such; if they are round, give distortion=np.eye(2)"
    )


def _pattern(data4d: Any, table: DiskTable, reducer: Disks, distortion: ArrayLike | Ellipse | None) -> Probe | None:
    """Return what the disks look like if they are far from flat."""
    try:
        learnt = learn_probe(data4d, table, reducer.radius_px, distortion=distortion, mask=reducer.mask)
    except CalibrationError:  # too few electrons to tell
        return None
    return learnt if learnt.patterned else None


def _part(progress: ProgressFunction, done: int, passes: int) -> ProgressFunction:
    """Return what reports the progress of one of several passes."""
    return lambda fraction: progress((done + fraction) / passes)
