"""The direct beam behind a beam stop: its place as it is known, or as the symmetry of the patterns tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import digest, record
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.descan import LEAST_EXCESS, Descan, robust_plane, saturation
from esteemcore.diffraction.origins import beam_places, recorded

Floats = NDArray[np.float64]

SYMMETRY = "friedel"
"""Ask for the place of the beam in this way to have it found."""
BLOCKS = 4
"""Parts of the scan along each axis whose patterns are added up before their centre is looked for."""
FEWEST = 3
"""Positions along an axis from which on the centres have a slope along it: two parts cannot contradict each other."""
RIVAL = 0.8
"""Part of the symmetry at the best centre that one elsewhere may have; else the centre is ambiguous."""
LEAD = 3.0
"""Standard deviations by which the best centre is better than any elsewhere: with few electrons all are chance."""
LEAST_SYMMETRY = 6.0
"""Standard deviations that the symmetry of the sum of all patterns stands out by at least."""
DISAGREE = 0.125
"""Part of the radius by which the centres of parts of the scan may leave their plane: true ones leave it by less."""
SHADOW = 0.9
"""Times the counts round it that a beam which a stop hides has at most."""
CLIPPED = 3.0
"""Standard deviations beyond which brighter pixels say no more: the reflections of a tilted crystal differ widely."""
MOST_DESCAN = 8.0
"""Distance in px from the centre of all patterns within which those of parts of the scan are looked for."""
NEARER = (MOST_DESCAN, 0.5 * MOST_DESCAN, 0.25 * MOST_DESCAN)
"""The same from the plane through them, round after round: a part of one crystal may have several centres."""


def hidden_descan(counts: Counts, radius: float, center: Any) -> Descan:
    """Return where the beam lies behind a stop: places that are given, or a plane through centres of symmetry.

    Parameters
    ----------
    counts : Counts
    radius : float
        Radius of a disk in px.
    center : str, Descan, or array_like, shape (2,) or (y, x, 2)
        ``"friedel"``, or the beam (row, column), everywhere or at each position.

    Raises
    ------
    ParameterError
        If `center` is neither.
    CalibrationError
        If the patterns have no clear centre of symmetry.
    """
    shape = counts.spec.scan_shape
    residual = np.full((*shape, 2), np.nan)
    if isinstance(center, str):
        if center != SYMMETRY:
            raise ParameterError(f"center is {center!r}; expected {SYMMETRY!r}, or (row, column) in px")
        plane, residual = _plane_of_centers(counts, radius)
        source = "its place is the centre of symmetry of the patterns"
        level = [name for n, name in zip(shape, ("rows", "columns"), strict=True) if 1 < n < FEWEST]
        source += ", taken to be the same in both " + " and ".join(level) if level else ""
    else:
        plane = _given(center, shape, counts.spec.frame_shape)
        source = "its place was given"
    corners = plane[[0, 0, -1, -1], [0, -1, 0, -1]]
    known = np.isfinite(residual)
    spread = 1.4826 * float(np.median(np.abs(residual[known]))) if known.any() else 0.0
    if spread > DISAGREE * radius:
        raise CalibrationError(
            "parts of the scan do not agree about the centre of the patterns: they leave the plane of a descan by "
            f"{spread:.1f} px; give center=(row, column)"
        )
    reference = plane.reshape(-1, 2).mean(axis=0)
    return Descan(
        plane,
        residual,
        np.full(shape, np.nan),
        reference,
        float(max(np.hypot(*(a - b)) for a in corners for b in corners)),
        spread,
        radius,
        (*counts.notes, *saturation(counts, reference, radius), f"{_stop(counts, reference, radius)}: {source}"),
        record(
            "diffraction.find_descan",
            {"radius_px": radius, "center": recorded(center), "mask": ~counts.masked if counts.masked.any() else None},
            input_digest=digest(counts.sample),
        ),
    )


def behind_stop(
    data4d: Any, radius: float, mask: NDArray[np.bool_] | None, center: str, check: Callable[[], None]
) -> tuple[Descan, NDArray[np.bool_], tuple[str, ...]]:
    """Return where the beam of whole counts lies behind a stop, the good pixels beside it, and what was done.

    ``check`` is called before each piece of the data is read.
    """
    counts = Counts(data4d, check, mask)
    found = hidden_descan(counts, radius, center)
    good = beside_stop(counts, radius, found)
    shadow = int((~good & ~counts.broken).sum())
    note = (f"{shadow} pixels round the direct beam that never have counts, a beam stop, were left out",)
    return found, good, (*found.notes, *(note if shadow else ()))


def beside_stop(counts: Counts, radius: float, beam: Descan) -> NDArray[np.bool_]:
    """Return the good pixels that do not lie behind the stop: other areas without counts are merely dark."""
    area, _ = ndimage.label(hidden_area(counts, radius))
    y, x = np.indices(area.shape)
    near = np.hypot(y - beam.reference[0], x - beam.reference[1]) < 0.5 * beam.span_px + 2 * radius
    stop = np.isin(area, np.unique(area[near & (area > 0)]))
    return np.asarray(~(counts.broken | stop))


def symmetry(total: Floats, good: NDArray[np.bool_], radius: float) -> Floats:
    r"""Return by how much a pattern is its own inversion about places half a pixel apart, shape (2 ky - 1, 2 kx - 1).

    Element s is the correlation :math:`\sum_x g(x)\, g(s - x)` with what stands out of its surroundings, :math:`g = (N
    - \bar N) / \sqrt{\bar N}`: reflections g and -g, and rings, meet at twice the place of the direct beam. In units of
    its standard deviation if there were no symmetry.
    """
    width = 2.0 * radius
    weight = ndimage.gaussian_filter(good.astype(np.float64), width, mode="constant")
    around = ndimage.gaussian_filter(np.where(good, total, 0), width, mode="constant") / np.maximum(weight, 1e-9)
    stands = np.where(good, (total - around) / np.sqrt(np.maximum(around, 1.0)), 0)
    stands = ndimage.gaussian_filter(np.minimum(stands, CLIPPED), 0.7)
    both = signal.fftconvolve(stands, stands)
    squares = signal.fftconvolve(stands**2, stands**2)
    return np.asarray(both / np.sqrt(np.maximum(2 * squares, 1e-3 * squares.max() + 1e-30)))


def hidden_area(counts: Counts, radius: float) -> NDArray[np.bool_]:
    """Return the pixels behind the stop: areas of half a disk or more that are masked or never have counts."""
    area, n = ndimage.label(counts.masked | (counts.sample == 0))
    sizes = np.bincount(area.ravel(), minlength=n + 1)
    sizes[0] = 0
    return np.asarray((sizes > 0.5 * np.pi * radius**2)[area])


def _stop(counts: Counts, reference: Floats, radius: float) -> str:
    """Say that a stop hides the beam, or, where it is no darker than its surroundings and bright, that none does."""
    y, x = np.indices(counts.sample.shape)
    far = np.hypot(y - reference[0], x - reference[1])
    disk, ring = far <= radius, (far > 1.5 * radius) & (far <= 2 * radius)
    inner = float(counts.sample[disk].mean())
    around, usual = float(counts.sample[ring].mean()), float(np.median(counts.sample))
    dark = (hidden_area(counts, radius) | counts.broken)[disk].mean() > 0.5
    if dark or inner < SHADOW * around or not inner > LEAST_EXCESS * usual:
        return "the direct beam lies behind a stop"
    return f"the direct beam is seen at (row, column) = ({reference[0]:.0f}, {reference[1]:.0f}) px, no stop hides it"


def _given(center: Any, shape: tuple[int, int], frame_shape: tuple[int, int]) -> Floats:
    """Return checked places (y, x, 2)."""
    given = beam_places(center, shape, frame_shape)
    return np.array(given.reshape(*shape, 2) if len(given) > 1 else np.broadcast_to(given, (*shape, 2)))


def _plane_of_centers(counts: Counts, radius: float) -> tuple[Floats, Floats]:
    """Return the plane (y, x, 2) through the centres of the patterns of parts of the scan, and what it leaves."""
    (ny, nx), shape = counts.spec.scan_shape, counts.spec.frame_shape
    rows, columns = (min(BLOCKS, n) if n >= FEWEST else 1 for n in (ny, nx))
    total = np.zeros((rows * columns, *shape))
    for index, frames in counts.pieces(counts.sample_rows()):
        y, x = np.divmod(np.arange(index.start, index.stop), nx)
        np.add.at(total, (y * rows // ny) * columns + x * columns // nx, frames)
    hidden = hidden_area(counts, radius)
    good = ~ndimage.binary_dilation(hidden | counts.broken, iterations=2)
    if not good.any():
        raise CalibrationError("no pixel beside the beam stop is left to tell the centre of the patterns")
    middle = _best(symmetry(total.sum(axis=0), good, radius), hidden, radius)
    first = np.maximum(np.rint(2 * (middle - 1.5 * MOST_DESCAN)), 0).astype(np.int64)  # what lies farther never counts
    last = np.rint(2 * (middle + 1.5 * MOST_DESCAN)).astype(np.int64) + 1
    down, across = _middles(ny, rows), _middles(nx, columns)
    near = {}
    for part in np.flatnonzero(total.any(axis=(1, 2))):
        i, j = divmod(int(part), columns)
        at = down[i] * nx + across[j]
        near[at] = symmetry(total[part], good, radius)[first[0] : last[0], first[1] : last[1]]
    plane = np.tile(middle, (ny * nx, 1))
    place, weight = np.full((ny * nx, 2), np.nan), np.zeros((ny * nx, 2))
    for reach in NEARER:
        for at, found in near.items():
            s, t = np.indices(found.shape)
            y, x = 0.5 * (s + first[0]), 0.5 * (t + first[1])
            inside = np.where(np.hypot(y - plane[at, 0], x - plane[at, 1]) <= reach, found, -np.inf)
            place[at] = _peak(inside) + 0.5 * first
            weight[at] = max(float(inside.max()), 0.0) ** 2 + 1e-6
        plane = robust_plane((ny, nx), place, weight, FEWEST)
    return plane.reshape(ny, nx, 2), (place - plane).reshape(ny, nx, 2)


def _middles(n: int, parts: int) -> list[int]:
    """Return the middle of each part of ``n`` positions along an axis."""
    part = np.arange(n) * parts // n
    return [int(np.flatnonzero(part == i).mean()) for i in range(parts)]


def _best(found: Floats, hidden: NDArray[np.bool_], radius: float) -> Floats:
    """Return the centre of symmetry, behind the stop if there is one; refuse what is none or ambiguous."""
    s, t = np.indices(found.shape)
    y, x = 0.5 * s, 0.5 * t
    ky, kx = hidden.shape
    allowed = (np.abs(y - 0.5 * (ky - 1)) < 0.3 * ky) & (np.abs(x - 0.5 * (kx - 1)) < 0.3 * kx)
    behind = ndimage.binary_dilation(hidden, iterations=2)
    inside = allowed & behind[(s + 1) // 2, (t + 1) // 2]
    allowed = inside if inside.any() else allowed
    found = np.where(allowed, found, -np.inf)
    middle = _peak(found)
    best = float(found.max())
    rival = float(found[np.hypot(y - middle[0], x - middle[1]) > 1.5 * radius].max(initial=-np.inf))
    if best < LEAST_SYMMETRY or rival > min(RIVAL * best, best - LEAD):
        raise CalibrationError(
            f"the patterns do not tell their centre: it would be (row, column) = ({middle[0]:.1f}, {middle[1]:.1f}) "
            f"px, where they are symmetric by {best:.1f} standard deviations, {max(rival, 0.0):.1f} elsewhere; give "
            "center=(row, column)"
        )
    return middle


def _peak(found: Floats) -> Floats:
    """Return the place of the maximum to a fraction of a step, in px."""
    i, j = np.unravel_index(int(found.argmax()), found.shape)
    place = np.array([i, j], np.float64)
    for axis, (before, after) in enumerate((((i - 1, j), (i + 1, j)), ((i, j - 1), (i, j + 1)))):
        if 0 < place[axis] < found.shape[axis] - 1:
            low, high = found[before], found[after]
            bend = 2 * found[i, j] - low - high
            if np.isfinite(bend) and bend > 0:
                place[axis] += 0.5 * (high - low) / bend
    return 0.5 * place
