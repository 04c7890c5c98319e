"""Grains from virtual dark-field images: one image for each reflection, cut into pieces, pieces of one grain joined."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, sparse

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.bragg_classes import bragg_features
from esteemcore.diffraction.dark_field_pieces import PIECE, cut_pieces, joined, linked, smoothed
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.origins import along_plane, origins, recorded
from esteemcore.diffraction.table import carried_notes

Floats = NDArray[np.float64]

ROUNDS = 3
"""How often positions choose a grain and grains are averaged over them."""
LEAST_REFLECTIONS = 2
"""Reflections that make a grain; the pairs h and -h count twice."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DarkFieldGrains:
    """Grains by the reflections that light up in them, those of the most positions first.

    Attributes
    ----------
    labels : ndarray of int64, shape (y, x)
        Grain of each position; -1 where the reflections of none are bright.
    confidence : ndarray of float64, shape (y, x)
        Brightness of the grain over that of it and of its strongest rival together, each relative to its usual one:
        near 1 where only this one is seen, 0.5 where two are alike, 0 where there is none.
    members : ndarray of bool, shape (n, y, x)
        Where each grain is bright. Grains on top of each other both are.
    images : ndarray of float64, shape (n, y, x)
        Dark-field image of each grain: electrons in all of its reflections.
    reflections : tuple of ndarray of float64, shape (m, 2)
        Places (row, column) in px, from the direct beam, of the reflections of each grain.
    pieces : int
        Pieces that the dark-field images were cut into.
    notes : tuple of str
        What is doubtful, in words: first about the frames, as the table of disks tells it.
    provenance : Provenance
    """

    labels: NDArray[np.int64]
    confidence: Floats
    members: NDArray[np.bool_]
    images: Floats
    reflections: tuple[Floats, ...]
    pieces: int
    notes: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        """Return the number of grains."""
        return len(self.members)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Positions of each grain, (n,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self))


def segment_dark_field(
    disks: Any,
    scan_shape: tuple[int, int],
    frame_shape: tuple[int, int],
    radius_px: float,
    *,
    center: ArrayLike | Descan | None = None,
    alike: float = 0.5,
    least: int = 4,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> DarkFieldGrains:
    """Find grains as the pieces of virtual dark-field images that look alike.

    The sharp peaks of the Bragg-vector map are the reflections of the scan. Each gives a dark-field image, the square
    root of its electrons at each position, which is cut into connected bright pieces. Pieces of several reflections
    whose images are correlated are the same grain and are joined, the most alike first, their images added. No number
    of grains is needed, and grains may lie on top of each other; amorphous areas have no grain.

    Parameters
    ----------
    disks : DiskTable
        E.g. of `find_disks`.
    scan_shape, frame_shape : tuple of int
        ``(y, x)`` of the scan and ``(ky, kx)`` of the detector.
    radius_px : float
        Radius of a disk in px.
    center : Descan or array_like, shape (2,) or (y, x, 2), optional
        Direct beam (row, column), where something stops it. Default: a plane through the brightest disks.
    alike : float
        Correlation of two images from which they show the same grain, 0 to 1.
    least : int
        Positions of the smallest piece that counts.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    DarkFieldGrains

    Raises
    ------
    ParameterError
        If the disks do not belong to the scan, or a parameter cannot be.
    CalibrationError
        If the disks have no reflections in common.

    References
    ----------
    B. H. Martineau et al., Advanced Structural and Chemical Imaging 5 (2019) 3; T. Bergh et al., Journal of Microscopy
    279 (2020) 265 (segmentation of virtual dark-field images).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> turns = np.repeat([0.2, 0.9], 20)  # two grains side by side
    >>> angle = turns[:, None] + np.pi / 2 * np.arange(4)
    >>> spots = 10 * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    >>> place = 32 + np.concatenate([np.zeros((40, 1, 2)), spots], axis=1).reshape(-1, 2)
    >>> bright, one = np.tile([1000.0, 50, 50, 50, 50], 40), np.ones(200)
    >>> order = np.arange(40).reshape(4, 10).T.ravel()  # columns of the scan
    >>> table = diffraction.DiskTable(np.repeat(order, 5), *place.T, bright, 0.1 * one, 9 * one)
    >>> found = diffraction.segment_dark_field(table, (4, 10), (64, 64), radius_px=3)
    >>> len(found), found.areas.tolist(), found.labels[0].tolist()
    (2, [20, 20], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    shape, frames = checks.shape_2d("scan_shape", scan_shape), checks.shape_2d("frame_shape", frame_shape)
    radius = checks.positive("radius_px", radius_px, "px")
    limit = checks.positive("alike", alike)
    if limit >= 1:
        raise ParameterError(f"alike is {limit:g}; expected a correlation between 0 and 1")
    fewest = checks.integer("least", least, minimum=1)
    steps = Progress(4, progress, cancel)
    positions = shape[0] * shape[1]
    frame = checks.flat_indices("disks.frame", disks.frame, positions)
    place = np.stack([disks.y, disks.x], axis=1).astype(np.float64)
    intensity = np.asarray(disks.intensity, np.float64)
    if not len(frame):
        raise ParameterError("there are no disks; find disks first")
    origin = along_plane(origins(frame, place, intensity, shape, center, np.eye(2)), shape, radius)
    spots, bright = bragg_features(disks, origin.reshape(*shape, 2), frames, radius)
    if not len(spots):
        raise CalibrationError(
            "the disks of this scan have no reflections in common: too few disks, another radius, or no crystal"
        )
    steps.step()
    pieces, of, length = cut_pieces(bright.tocsc(), shape, fewest)
    steps.step()
    group = joined(pieces, limit)
    steps.step()
    found = [np.flatnonzero(group == g) for g in range(int(group.max(initial=-1)) + 1)]
    found = [own for own in found if len(np.unique(of[own])) >= LEAST_REFLECTIONS]
    label, like = _labels(bright, _brightness(bright, pieces, of, found, shape), length, shape)
    found = linked(found, label, _confidence(like, label), bright, shape)
    strength = _brightness(bright, pieces, of, found, shape)
    label, like = _labels(bright, strength, length, shape)
    size = np.bincount(label[label >= 0], minlength=len(found))
    order = np.argsort(-size, kind="stable")[: int((size >= fewest).sum())]
    rank = np.full(len(found) + 1, -1, np.int64)  # the last is that of no grain
    rank[order] = np.arange(len(order))
    strength, like = strength[order], like[order]
    labels = rank[label]
    made = record(
        "diffraction.segment_dark_field",
        {
            "scan_shape": shape, "frame_shape": frames, "radius_px": radius, "center": recorded(center), "alike": limit,
            "least": fewest,
        },
        input_digest=digest(frame, place, intensity),
    )  # fmt: skip
    steps.finish()
    return DarkFieldGrains(
        labels=labels.reshape(shape),
        confidence=_confidence(like, labels).reshape(shape),
        members=(strength > PIECE).reshape(-1, *shape),
        images=_images(bright, [np.unique(of[found[g]]) for g in order], shape),
        reflections=tuple(spots[np.unique(of[found[g]])] for g in order),
        pieces=len(of),
        notes=carried_notes(disks, _notes(labels, strength, len(found), len(of))),
        provenance=made,
    )


def _brightness(
    bright: sparse.csr_array,
    pieces: sparse.csr_array,
    of: NDArray[np.int64],
    found: list[NDArray[np.int64]],
    shape: tuple[int, int],
) -> Floats:
    """Return the brightness of each grain relative to its usual one, (grains, positions).

    A reflection may light up in another grain, too, so that only what lies in the pieces of the grain, or beside them,
    counts.
    """
    strength = np.zeros((len(found), shape[0] * shape[1]))
    for k, own in enumerate(found):
        inside = np.asarray(pieces[own].sum(axis=0)).reshape(shape) > 0
        total = np.asarray(bright[:, np.unique(of[own])].sum(axis=1)).ravel()
        soft = np.where(ndimage.binary_dilation(inside).ravel(), smoothed(total, shape), 0)
        strength[k] = soft / max(float(np.median(soft[inside.ravel()])), 1e-12)
    return strength


def _labels(
    bright: sparse.csr_array, strength: Floats, length: Floats, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], Floats]:
    """Return the grain that each position is most like, -1 for none, and the cosine between what it shows and grains.

    The cosine is 0 where a grain is not bright. What a position shows is smoothed as the images are.
    """
    like = np.zeros_like(strength)
    if not len(strength):
        return np.full(shape[0] * shape[1], -1, np.int64), like
    member, best = strength > PIECE, strength.argmax(axis=0)
    for _ in range(ROUNDS):
        for k in range(len(strength)):
            own = member[k] & (best == k)
            own = (own if own.any() else member[k]).astype(np.float64)
            mean = smoothed(own, shape) @ bright
            along = smoothed(bright @ mean, shape)
            like[k] = np.where(
                member[k], along / np.maximum(length * max(float(np.linalg.norm(mean)), 1e-12), 1e-12), 0
            )
        best = like.argmax(axis=0)
    return np.where((like > 0).any(axis=0), best, -1), like


def _images(bright: sparse.csr_array, reflections: list[NDArray[np.int64]], shape: tuple[int, int]) -> Floats:
    """Return the electrons in the reflections of each grain, (grains, y, x)."""
    electrons = bright.multiply(bright).tocsc()
    images = [np.asarray(electrons[:, own].sum(axis=1)).reshape(shape) for own in reflections]
    return np.array(images, np.float64).reshape(-1, *shape)


def _confidence(strength: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return the part of the label's grain in the two brightest; 0 where there is no grain."""
    if not len(strength):
        return np.zeros(len(labels))
    positions = np.arange(len(labels))
    chosen = np.maximum(labels, 0)
    own = strength[chosen, positions]
    others = strength.copy()
    others[chosen, positions] = 0
    both = own + others.max(axis=0)
    return np.where(labels >= 0, np.divide(own, both, out=np.zeros(len(labels)), where=both > 0), 0.0)


def _notes(labels: NDArray[np.int64], strength: Floats, found: int, pieces: int) -> tuple[str, ...]:
    """Say what is doubtful."""
    notes = []
    none = int((labels < 0).sum())
    if not len(strength) and pieces:
        notes.append(
            f"no grain was found, though dark-field images have {pieces} bright pieces: no two of them look alike; "
            "give a smaller alike, or more electrons"
        )
    elif none:
        notes.append(f"at {none} of {len(labels)} positions the reflections of no grain are bright: their label is -1")
    if found > len(strength):
        notes.append(f"{found - len(strength)} more grains are brightest hardly anywhere, and were left out")
    over = int(((strength > PIECE).sum(axis=0) > 1).sum()) if len(strength) else 0
    if over:
        notes.append(f"two grains or more are bright at {over} positions: borders, or grains on top of each other")
    return tuple(notes)
