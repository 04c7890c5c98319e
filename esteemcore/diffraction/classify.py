"""Classes of scan positions by their diffraction patterns, found in two ways."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import digest, record
from esteemcore.diffraction import class_words
from esteemcore.diffraction.amorphous import radial_profile, texture
from esteemcore.diffraction.bragg_classes import METHODS, bragg_classes, bragg_features
from esteemcore.diffraction.class_doubt import bare, by_part, confidence, unlike
from esteemcore.diffraction.classes import KINDS, Classes
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.data4d import spec_of
from esteemcore.diffraction.descan import Descan, checked_mask, checked_radius, descan_of
from esteemcore.diffraction.ellipse import Ellipse, fit_ellipse
from esteemcore.diffraction.find import find_disks
from esteemcore.diffraction.grains import Evidence, Grouping, evidence, group
from esteemcore.diffraction.hidden_beam import beside_stop, hidden_descan
from esteemcore.diffraction.mixture import Mixture, features, settle
from esteemcore.diffraction.order import ENOUGH, STEPS, Curve, best_of, held_out
from esteemcore.diffraction.origins import recorded
from esteemcore.diffraction.patterns import Binned, bin_size, binned, sums
from esteemcore.diffraction.shares import fit_shares
from esteemcore.diffraction.table import DiskTable

MOST = 96
"""Components of a mixture at most."""

MOST_SEED = 2**32 - 1
"""Largest seed that k-means takes."""

FEW_DISKS = 0.5
"""Disks per frame, the direct beam aside, below which they are not asked for classes."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What the mixture gave."""

    mixture: Mixture
    seen: Evidence
    grouping: Grouping


def classify(
    data4d: Any,
    radius_px: float,
    n_classes: int | None = None,
    *,
    binning: int | None = None,
    mask: ArrayLike | None = None,
    center: str | ArrayLike | Descan | None = None,
    disks: DiskTable | None = None,
    ellipse: Ellipse | None = None,
    second_way: bool | str = True,
    seed: int = 0,
    threads: int | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Classes:
    """Divide a scan into grains and amorphous phases by their diffraction patterns, without tuning.

    Patterns are moved back by their descan and binned, the direct beam is left out. A mixture of more patterns than
    there are phases is fitted to the counts, with neighbours likely to be alike; how many patterns the counts can tell
    apart is found with electrons that did not help to fit. Components whose patterns have the same reflections, however
    bright, are parts of one grain, bent or of uneven thickness, and are joined; so are amorphous ones of the same
    radial profile. What shows two grains on top of each other is no class but is told by the fractions. The Bragg disks
    of single frames then give the classes once more, in their own way.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Whole counts; memory maps, Zarr, HDF5 and Dask arrays are read piece by piece, at least four times.
    radius_px : float
        Radius of a disk in detector px: the semi-angle of the probe.
    n_classes : int, optional
        Number of classes; fewer where fewer can be told apart. Default: as many as have different reflections or halos.
    binning : int, optional
        Side of the bins in px. Default: 0.8 times the radius, more for fewer than 60 electrons outside the beam.
    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good; the others are filled from the nearest. Dead rows and hot pixels are found without
        it.
    center : str, Descan, or array_like, shape (2,) or (y, x, 2), optional
        Where a beam stop hides the direct beam: its place, or ``"friedel"``, see `find_descan`.
    disks : DiskTable, optional
        What `find_disks` found in these data, if it is known already.
    ellipse : Ellipse, optional
        What circles look like on the detector. Default: what the halo of the largest amorphous class tells.
    second_way : bool or {"kmeans", "hdbscan"}
        Classify by Bragg disks too, with k-means, as True does, or by density, which leaves positions that belong to no
        group without a class and takes time with the square of their number; without, `Classes.agreement` is NaN.
    seed : int
        Seed of the thinning and of the first groups, 0 to 2**32 - 1.
    threads : int, optional
        For `find_disks`.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    Classes

    Raises
    ------
    ParameterError
        If the data are no whole counts (y, x, ky, kx), hold NaN, or have no electrons outside the direct beam; if
        `radius_px`, `n_classes`, `mask`, `disks`, `ellipse` or `seed` cannot be.
    CalibrationError
        If no direct beam of this radius is found, or a beam stop hides it.

    References
    ----------
    B. H. Savitzky et al., Microscopy and Microanalysis 27, 712 (2021), section on classification; B. H. Martineau et
    al., Advanced Structural and Chemical Imaging 5, 3 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> y, x = np.mgrid[:48, :48] - 24
    >>> def pattern(turn):
    ...     around = [np.hypot(y - 14 * np.sin(a), x - 14 * np.cos(a)) < 3 for a in turn + np.pi / 2 * np.arange(4)]
    ...     return 0.02 + 4 * (np.hypot(y, x) < 3) + np.sum(around, axis=0)
    >>> rates = np.array([[pattern(0.2 + 0.5 * (j > 7)) for j in range(16)] for i in range(16)])
    >>> found = diffraction.classify(np.random.default_rng(0).poisson(rates), radius_px=3)
    >>> len(found), found.kinds, np.unique(found.labels[:, :8]).size
    (2, ('crystalline', 'crystalline'), 1)
    """
    radius = checked_radius(data4d, radius_px)
    valid = checked_mask(data4d, mask)
    positions = spec_of(data4d).positions
    seed = checks.integer("seed", seed, minimum=0, maximum=MOST_SEED)
    _refuse(disks, ellipse, positions)
    method = _method(second_way)
    steps = Progress(20 + len(STEPS), progress, cancel)
    if n_classes is not None:
        n_classes = checks.integer("n_classes", n_classes, minimum=1)
        if n_classes > positions:
            raise ParameterError(f"n_classes is {n_classes}, but the scan has only {positions} positions")
    counts = Counts(data4d, lambda: steps.step(0), valid)
    size = (
        bin_size(counts, radius)
        if binning is None
        else checks.integer("binning", binning, minimum=1, maximum=min(counts.spec.frame_shape) // 6)
    )
    hidden = None if center is None else hidden_descan(counts, radius, center)
    descan = descan_of(counts, radius, everywhere=False) if hidden is None else hidden
    steps.step(2)
    data = binned(counts, descan, radius, size)
    if not data.counts.any():
        raise ParameterError(
            f"there is no electron outside the direct beam (radius {radius:g} px), so that nothing can be told apart; "
            "check radius_px and the range of the detector"
        )
    steps.step(2)
    curve = held_out(data, seed, steps)
    found = _fit(counts, descan, radius, data, curve, n_classes, seed, steps)
    share, of = found.mixture.share, found.grouping.of
    n = found.grouping.n
    posterior = share @ np.eye(n, dtype=np.float32)[of]
    shares = fit_shares(data, found.seen.rates, of, n, share, radius)
    steps.step(2)
    likely = posterior.argmax(axis=1)
    labels = np.where(data.empty, -1, by_part(likely, shares.fractions))
    foreign, beam = unlike(shares) & ~data.empty, bare(data, labels)
    labels[foreign | beam] = -1
    parts = np.where(labels[:, None] >= 0, shares.fractions, np.nan)
    total, covered = sums(counts, descan, np.where((posterior.max(axis=1) > 0.9) & (labels == likely), labels, -1), n)
    steps.step(2)
    given = None if ellipse is None else (ellipse.ratio, ellipse.angle_deg)
    kinds = tuple(KINDS[int(found.seen.amorphous[of == c].all())] for c in range(n))
    doubts: tuple[str, ...] = ()
    if ellipse is None:
        ellipse, doubts = _ellipse(total, covered, kinds, radius, hidden)
    other, lonely = np.full_like(labels, -1), 0
    if method is not None:
        table = disks if disks is not None else _disks(data4d, counts, radius, ellipse, hidden, threads, steps)
        other, reflecting = _by_disks(counts, descan, radius, data, table, seed, method)
        lonely = int(((labels >= 0) & (other < 0) & reflecting).sum()) if method == "hdbscan" else 0
    steps.finish()
    other, agreement = _compared(labels, other, n)
    notes = (*descan.notes, *class_words.notes(data, found.grouping, n_classes, method is not None, agreement))
    if lonely and not math.isnan(agreement):
        notes += (f"the Bragg disks of {lonely} positions are like those of too few others: by density, no class",)
    notes += class_words.without_class(data.empty, foreign & ~beam, beam) + doubts
    shape = counts.spec.scan_shape
    along = None if ellipse is None else np.linalg.inv(ellipse.matrix)
    profiles = [radial_profile(t, c, descan.reference, along)[0] for t, c in zip(total, covered, strict=True)]
    parameters = {
        "radius_px": radius,
        "n_classes": n_classes,
        "binning": size,
        "ellipse": given,
        "second_way": second_way,
        "mask": valid,
        "center": recorded(center),
        "disks": None if disks is None else digest(disks.frame, disks.y, disks.x, disks.intensity),
    }
    return Classes(
        labels.reshape(shape),
        confidence(posterior, parts, labels).reshape(shape),
        np.divide(total, covered, out=np.full(total.shape, np.nan), where=covered > 0),
        np.ascontiguousarray(parts.T).reshape(n, *shape),
        agreement,
        kinds,
        other.reshape(shape),
        ((labels == other) & (labels >= 0)).reshape(shape),
        np.where(data.empty, np.nan, shares.unexplained).reshape(shape),
        np.array([texture(t, descan.reference, radius)[0] for t in total]),
        np.array(profiles),
        np.stack([curve.components, curve.gain, curve.sigma], axis=1).astype(np.float64),
        class_words.reason(curve, found.grouping, n_classes),
        descan,
        ellipse,
        size,
        notes,
        record("diffraction.classify", parameters, seed=seed, input_digest=digest(data.counts, counts.sample, total)),
    )


def _fit(
    counts: Counts,
    descan: Descan,
    radius: float,
    data: Binned,
    curve: Curve,
    n_classes: int | None,
    seed: int,
    steps: Progress,
) -> _Found:
    """Fit a mixture of twice as many components as are of use, more while most of them are classes; join them."""
    scores = features(data, seed)
    most = max(1, min(MOST, len(data.counts) // ENOUGH), n_classes or 0)
    k = min(2 * curve.best, max(STEPS[-1], curve.best), most)
    if n_classes is not None:
        k = min(max(k, 2 * n_classes), most)
    found: _Found | None = None
    while True:
        mixture = best_of(data, scores, k, seed, steps)
        seen = evidence(counts, descan, radius, data, mixture, data.empty)
        grouping = group(seen, data.scan_shape, radius, n_classes)
        if found is None or n_classes is None or grouping.n > found.grouping.n:  # too many components have no positions
            found = _Found(mixture, seen, grouping)
        crowded = 2 * grouping.n > k and curve.best == STEPS[-1]
        short = n_classes is not None and grouping.n < n_classes
        if k == most or not (crowded or short):
            break
        k = min(math.ceil(1.5 * k), most)
    steps.step(2)
    mixture, seen, grouping = found.mixture, found.seen, found.grouping
    used = np.flatnonzero(grouping.of >= 0)
    share = mixture.share[:, used] + np.float32(1e-6)
    share /= share.sum(axis=1, keepdims=True)
    settled = settle(data, share, mixture.profiles[used])
    seen = dataclasses.replace(seen, rates=seen.rates[used], frames=seen.frames[used], amorphous=seen.amorphous[used])
    return _Found(settled, seen, dataclasses.replace(grouping, of=grouping.of[used]))


def _method(second_way: Any) -> str | None:
    """Return how the Bragg disks are grouped, None where they are not asked."""
    if isinstance(second_way, str):
        return checks.choice("second_way", second_way, tuple(METHODS))
    if not isinstance(second_way, (bool, np.bool_)):
        raise ParameterError(f"second_way is {second_way!r}; expected True, False, 'kmeans' or 'hdbscan'")
    return "kmeans" if second_way else None


def _refuse(disks: Any, ellipse: Any, positions: int) -> None:
    """Raise an error if disks or ellipse are none, or the disks those of another scan."""
    if ellipse is not None and not isinstance(ellipse, Ellipse):
        raise ParameterError(f"ellipse is of type {type(ellipse).__name__}; give what fit_ellipse returns")
    if disks is None:
        return
    if not isinstance(disks, DiskTable):
        raise ParameterError(f"disks is of type {type(disks).__name__}; give what find_disks returns")
    checks.flat_indices("disks.frame", disks.frame, positions)


def _ellipse(
    total: NDArray[np.float64],
    covered: NDArray[np.float64],
    kinds: tuple[str, ...],
    radius: float,
    hidden: Descan | None,
) -> tuple[Ellipse | None, tuple[str, ...]]:
    """Return the ellipse that the largest amorphous class shows, None where it shows none, and what is doubtful."""
    halos = [c for c, kind in enumerate(kinds) if kind == "amorphous"]
    if not halos:
        return None, ()
    largest = max(halos, key=lambda c: float(covered[c].max()))
    whole = covered[largest] == covered[largest].max()
    behind: dict[str, Any] = {} if hidden is None else {"center": hidden.reference, "radius_px": radius}
    try:
        found = fit_ellipse(np.where(whole, total[largest], 0)[None, None], mask=whole, **behind)
    except (CalibrationError, ParameterError) as error:
        return None, (f"class {largest} is amorphous, but does not tell the ellipse of the detector: {error}",)
    return found, ()


def _disks(
    data4d: Any,
    counts: Counts,
    radius: float,
    ellipse: Ellipse | None,
    hidden: Descan | None,
    threads: int | None,
    steps: Progress,
) -> DiskTable:
    mask = ~counts.broken if counts.broken.any() else None
    matrix = None if ellipse is None else ellipse.matrix
    if hidden is not None:
        mask = beside_stop(counts, radius, hidden)
    return find_disks(
        data4d,
        radius,
        mask=mask,
        center=hidden,
        distortion=matrix,
        threads=threads,
        progress=lambda done: steps.step(0),
    )


def _by_disks(
    counts: Counts, descan: Descan, radius: float, data: Binned, disks: DiskTable, seed: int, method: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the classes by Bragg disks, -1 where there are none, and which positions have disks of reflections."""
    _, found = bragg_features(disks, descan.center, counts.spec.frame_shape, radius)
    return np.where(data.empty, -1, bragg_classes(found, data, radius, seed, method)), np.diff(found.indptr) > 0


def _compared(labels: NDArray[np.int64], other: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], float]:
    """Return the other classes, numbered as those they have most in common with, and the adjusted Rand index."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score

    both = (labels >= 0) & (other >= 0)
    if both.sum() < max(2, FEW_DISKS * (labels >= 0).sum()):
        return np.full_like(other, -1), math.nan
    table = np.zeros((n, int(other.max()) + 1))
    np.add.at(table, (labels[both], other[both]), 1)
    number = np.full(table.shape[1], -1, np.int64)
    ours, theirs = linear_sum_assignment(-table)
    number[theirs] = ours
    number[number < 0] = n + np.arange(int((number < 0).sum()))
    return np.where(other >= 0, number[other], -1), float(adjusted_rand_score(labels[both], other[both]))
