"""Where a motif, a few unit cells of a crystal for example, repeats in an image or a series."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, spatial, special

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.register.alignment import Alignment
from esteemcore.register.motif_correlation import Correlator, peak_offset, rotated


@dataclasses.dataclass(frozen=True, eq=False)
class MotifPlaces:
    """Where a motif was found: one row per place, by frame and falling score.

    Attributes
    ----------
    frame : ndarray of int64, shape (count,)
        Frame it was found in; 0 throughout for places that are `common`.
    y, x : ndarray of float64, shape (count,)
        Centre of the motif in px of the frame (of the common grid, for places that are `common`), pixel centres at
        integers. The centre of a motif of m pixels is at (m - 1) / 2.
    angle_deg : ndarray of float64, shape (count,)
        By which the motif is turned there, from x (columns) towards y (rows).
    score : ndarray of float64, shape (count,)
        Zero-mean normalised cross-correlation at the nearest pixel, 1 for a perfect copy.
    shape : (int, int)
        Rows and columns of the motif.
    image_shape : (int, int)
        Rows and columns of the image that was searched.
    frames : int
        Frames that the places are for: those that were searched, or those of the alignment.
    common : bool
        The places hold for every frame: they were found in one image, such as the mean of an alignment.
    aligned : bool
        They were found in the mean of an alignment.
    expected_false : float
        How many pixels of white noise of this size would be expected to pass the threshold by chance.
    provenance : Provenance
        How they were found.
    """

    frame: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    score: NDArray[np.float64]
    shape: tuple[int, int]
    image_shape: tuple[int, int]
    frames: int
    common: bool
    aligned: bool
    expected_false: float
    provenance: Provenance

    @property
    def count(self) -> int:
        """Number of places."""
        return len(self.frame)

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.frame)


def find_motif(
    image: ArrayLike | Alignment,
    motif: ArrayLike,
    threshold: float = 0.5,
    overlap: float = 0.5,
    *,
    rotations_deg: Sequence[float] | None = None,
    masks: ArrayLike | None = None,
    visible: float = 0.75,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> MotifPlaces:
    r"""Find the repeats of a motif by normalised cross-correlation, to a fraction of a pixel.

    Parameters
    ----------
    image : array_like, shape (y, x) or (n, y, x), or Alignment
        An image; a series, each frame of which is searched (for high doses); or an alignment, whose mean is searched
        (for low doses: the places then hold in every frame). What is not finite was not measured.
    motif : array_like, shape (rows, columns)
        What to find, cut from the image for example. What is not finite does not belong to it.
    threshold : float
        Least score, above 0, below 1.
    overlap : float
        Of two places that are closer than ``1 - overlap`` times the shorter side of the motif, the one with the higher
        score is kept. 0 to below 1.
    rotations_deg : sequence of float, optional
        Angles by which the motif may be turned, from x towards y. Default: none.
    masks : array_like of bool, shape (y, x) or (n, y, x), optional
        True where the image was measured. Default: everywhere.
    visible : float
        Least share of the motif that must lie on measured pixels, above 0, up to 1. Less than 1 finds copies that the
        border of the image cuts.
    progress : callable, optional
        Called with the fraction done after each frame and angle.
    cancel : threading.Event, optional
        When set, the search stops with `CancelledError`.

    Returns
    -------
    MotifPlaces
        The places, possibly none.

    Raises
    ------
    ParameterError
        If shapes do not fit, the motif is larger than the image or has no contrast, or a parameter is out of its range.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    The score of a place is Pearson's correlation coefficient r of motif and image over the n pixels that both have
    [1]_; brightness and contrast do not matter. Maxima are located by a second-order expansion of the score around the
    best pixel, of the best angle. In white noise, r exceeds the threshold r0 with probability
    ``I(1 - r0²; n / 2 - 1, 1 / 2) / 2`` (regularised incomplete beta function); ``expected_false`` sums this over all
    pixels and angles that were tried. Noise that is correlated between pixels, as in sums of shifted frames, has fewer
    independent pixels: take a higher threshold there.

    References
    ----------
    .. [1] D. Padfield, IEEE Trans. Image Process. 21, 2706 (2012), doi:10.1109/TIP.2011.2181402.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.indices((64, 64))
    >>> image = np.cos(2 * np.pi * y / 16) + np.cos(2 * np.pi * x / 16)
    >>> places = register.find_motif(image, image[8:25, 8:25], threshold=0.9, visible=1.0)
    >>> places.count
    9
    >>> sorted(set(places.y.round(2).tolist()))
    [16.0, 32.0, 48.0]
    """
    pattern = _numbers("motif", motif, (2,))
    part = np.isfinite(pattern)
    if part.sum() < 3 or np.ptp(pattern[part]) == 0:
        raise ParameterError("the motif has no contrast; cut one that shows what repeats")
    least = checks.positive("threshold", threshold)
    if least >= 1:
        raise ParameterError(f"threshold is {least:g}; expected less than 1, the score of a perfect copy")
    shared = checks.not_negative("overlap", overlap)
    if shared >= 1:
        raise ParameterError(f"overlap is {shared:g}; expected less than 1")
    seen = checks.positive("visible", visible)
    if seen > 1:
        raise ParameterError(f"visible is {seen:g}; expected a share, up to 1")
    angles = _angles(rotations_deg)
    common = isinstance(image, Alignment) or np.ndim(image) == 2
    series = _numbers("image", image.mean if isinstance(image, Alignment) else image, (2, 3))
    series = series[None] if series.ndim == 2 else series
    n, *shape = series.shape
    if min(series.shape) < 1 or any(m > s for m, s in zip(pattern.shape, shape, strict=True)):
        raise ParameterError(f"the motif has shape {pattern.shape} and the image {tuple(shape)}; cut a smaller motif")
    measured = np.isfinite(series)
    if masks is not None:
        given = np.asarray(masks)
        wanted = tuple(shape) if given.ndim == 2 else series.shape
        measured &= checks.boolean_mask("masks", given, wanted)
    turned = [rotated(np.where(part, pattern, 0.0), part, angle) for angle in angles]
    distance = (1 - shared) * min(pattern.shape)
    steps = Progress(n * len(angles), progress, cancel)
    steps.step(0)
    rows, chance = [], 0.0
    for number in range(n):
        found, false = _search(series[number], measured[number], turned, angles, least, seen, distance, steps)
        rows.append(np.column_stack([np.full(len(found), number), found]))
        chance += false
    table = np.concatenate(rows)
    parameters = {
        "motif": pattern,
        "threshold": least,
        "overlap": shared,
        "rotations_deg": angles,
        "masks": None if masks is None else np.asarray(masks),
        "visible": seen,
    }
    return MotifPlaces(
        frame=table[:, 0].astype(np.int64),
        y=table[:, 1].copy(),
        x=table[:, 2].copy(),
        angle_deg=table[:, 3].copy(),
        score=table[:, 4].copy(),
        shape=(pattern.shape[0], pattern.shape[1]),
        image_shape=(shape[0], shape[1]),
        frames=len(image) if isinstance(image, Alignment) else n,
        common=common,
        aligned=isinstance(image, Alignment),
        expected_false=chance,
        provenance=record("register.find_motif", parameters, input_digest=digest(series)),
    )


def _search(
    image: NDArray[np.float64],
    valid: NDArray[np.bool_],
    motifs: list[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    angles: NDArray[np.float64],
    threshold: float,
    visible: float,
    distance: float,
    steps: Progress,
) -> tuple[NDArray[np.float64], float]:
    """Return rows (y, x, angle, score) of one image, and how many pixels of noise would pass."""
    reach = max(m.shape[0] for m, _ in motifs), max(m.shape[1] for m, _ in motifs)
    correlator = Correlator(np.where(valid, image, 0.0), valid, reach)
    candidates, chance = [], 0.0
    for (motif, part), angle in zip(motifs, angles, strict=True):
        score, pixels = correlator.score(motif, part)
        enough = pixels >= max(visible * part.sum(), 3)
        chance += false_pixels(pixels[enough], threshold)
        score[~enough] = -1.0
        peaks = np.argwhere(
            (score >= threshold) & (score == ndimage.maximum_filter(score, 3, mode="constant", cval=-1))
        )
        for row, column in peaks:
            dy, dx = peak_offset(score, row, column)
            y, x = row + dy - (motif.shape[0] - 1) / 2, column + dx - (motif.shape[1] - 1) / 2
            candidates.append((y, x, angle, score[row, column]))
        steps.step()
    return _apart(np.array(candidates, np.float64).reshape(-1, 4), distance), chance


def _apart(candidates: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """Keep candidates by falling score, none closer to one that was kept than the distance."""
    candidates = candidates[np.argsort(-candidates[:, 3], kind="stable")]
    if not len(candidates):
        return candidates
    tree = spatial.cKDTree(candidates[:, :2])
    kept = np.ones(len(candidates), np.bool_)
    for index in range(len(candidates)):
        if kept[index]:
            near = np.array(tree.query_ball_point(candidates[index, :2], np.nextafter(distance, 0)), np.int64)
            kept[near[near > index]] = False
    return candidates[kept]


def false_pixels(pixels: NDArray[np.int64], threshold: float) -> float:
    """Return how many places, with so many pixels each, would reach a score in white noise."""
    n, times = np.unique(pixels, return_counts=True)
    return float((times * special.betainc(np.maximum(n / 2 - 1, 0.5), 0.5, 1 - threshold**2) / 2).sum())


def _angles(rotations_deg: Sequence[float] | None) -> NDArray[np.float64]:
    given = np.asarray([0.0] if rotations_deg is None else rotations_deg)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise ParameterError(f"rotations_deg is {rotations_deg!r}; expected a list of angles in degrees")
    return given.astype(np.float64)


def _numbers(name: str, value: ArrayLike, dimensions: tuple[int, ...]) -> NDArray[np.float64]:
    given = np.asarray(value)
    if given.ndim not in dimensions or given.dtype.kind not in "biuf":
        words = " or ".join("(y, x)" if d == 2 else "(n, y, x)" for d in dimensions)
        raise ParameterError(f"{name} has shape {given.shape} and dtype {given.dtype}; expected real numbers {words}")
    return given.astype(np.float64)
