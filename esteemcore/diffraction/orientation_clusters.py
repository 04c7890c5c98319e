"""Grains by orientation: clusters of like orientations and the misorientations between them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.orientation_result import Orientations

Floats = NDArray[np.float64]

MOST = 3000
"""Positions of a phase that are compared with each other; of more, as many are taken at equal distances."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class OrientationClusters:
    """Clusters of like orientations, those with most positions first.

    Attributes
    ----------
    labels : ndarray of int64, shape (y, x)
        Cluster of each position, -1 where there is none.
    sizes : ndarray of int64, shape (k,)
        Positions of each cluster.
    phase : ndarray of int64, shape (k,)
        Number of its phase.
    rotations : ndarray of float64, shape (k, 4)
        Mean orientation, a unit quaternion as in `Orientations`.
    spread_deg : ndarray of float64, shape (k,)
        Root mean square angle of the positions from the mean in degrees.
    misorientation_deg : ndarray of float64, shape (k, k)
        Least angle between the mean orientations in degrees; NaN between phases.
    axes : ndarray of float64, shape (k, k, 3)
        Axis (x, y, z, cartesian axes of the crystal, within the fundamental zone) of that turn; NaN on the diagonal and
        between phases.
    notes : tuple of str
        What is wrong, in words.
    provenance : Provenance
    """

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    phase: NDArray[np.int64]
    rotations: Floats
    spread_deg: Floats
    misorientation_deg: Floats
    axes: Floats
    notes: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        """Return the number of clusters."""
        return len(self.sizes)


def orientation_clusters(
    orientations: Orientations,
    *,
    max_angle_deg: float = 2.0,
    least: int = 10,
    least_correlation: float = 0.0,
    least_confidence: float = 0.0,
) -> OrientationClusters:
    """Find the orientations that many positions share, wherever they lie, and the turns between them.

    Parameters
    ----------
    orientations : Orientations
        Of `orientation`.
    max_angle_deg : float
        Orientations nearer than this in degrees, symmetry included, are neighbours; about twice the step of the
        library.
    least : int
        Positions that the core of a cluster has within this angle.
    least_correlation, least_confidence : float
        Positions below are left out of the search; they get the label of the cluster that is nearest, if it is near.

    Returns
    -------
    OrientationClusters

    Raises
    ------
    DependencyError
        Without orix, the extra ``diffraction``.
    ParameterError
        If no position passes.

    Notes
    -----
    DBSCAN on the angles between orientations, phase by phase. A cluster may be several grains that lie apart.

    References
    ----------
    D. N. Johnstone et al., Journal of Applied Crystallography 53 (2020) 1293 (clusters of orientations).
    """
    try:
        import orix.quaternion  # noqa: F401
    except ImportError:
        raise DependencyError("orix", "diffraction") from None
    from sklearn.cluster import DBSCAN

    angle = checks.positive("max_angle_deg", max_angle_deg, "degrees")
    fewest = checks.integer("least", least, minimum=2)
    good = np.nan_to_num(orientations.correlation[..., 0], nan=-1.0).ravel() >= checks.not_negative(
        "least_correlation", least_correlation
    )
    good &= np.nan_to_num(orientations.confidence, nan=-1.0).ravel() >= checks.not_negative(
        "least_confidence", least_confidence
    )
    if not good.any():
        raise ParameterError("no position has an orientation of that correlation and confidence; ask for less")
    phase = orientations.phase[..., 0].ravel()
    rotation = orientations.rotations[..., 0, :].reshape(-1, 4)
    labels = np.full(phase.size, -1, np.int64)
    means: list[Floats] = []
    phases: list[int] = []
    notes = []
    for number in np.unique(phase[good]):
        symmetry = _symmetry(orientations, number)
        members = np.flatnonzero(phase == number)
        searched = np.flatnonzero(good & (phase == number))
        part = searched[:: -(-len(searched) // MOST)]
        if len(part) < len(searched):
            notes.append(f"clusters were searched among {len(part)} of {len(searched)} positions")
        needed = max(2, round(fewest * len(part) / len(searched)))
        distance = np.degrees(_oriented(rotation[part], symmetry).get_distance_matrix())
        np.fill_diagonal(distance, 0)
        cluster = DBSCAN(eps=angle, min_samples=needed, metric="precomputed").fit_predict(distance)
        found = [_mean(rotation[part[cluster == c]], symmetry) for c in range(cluster.max() + 1)]
        if found:
            off = np.stack([_angles_deg(rotation[members], mean, symmetry) for mean in found])
            nearest = off.argmin(axis=0)
            near = off.min(axis=0) <= angle
            labels[members[near]] = len(means) + nearest[near]
            labels[part[cluster >= 0]] = len(means) + cluster[cluster >= 0]  # cores may be wider than the angle
            means += found
            phases += [int(number)] * len(found)
    order = np.argsort(-np.bincount(labels[labels >= 0], minlength=len(means)), kind="stable")
    rank = np.append(np.argsort(order), -1)
    labels = rank[labels]
    mean, of = np.array(means).reshape(-1, 4)[order], np.array(phases, np.int64)[order]
    if not len(mean):
        notes.append(f"no {fewest} positions have orientations within {angle:g} degrees of each other")
    spread = np.array(
        [
            np.sqrt(np.mean(_angles_deg(rotation[labels == c], mean[c], _symmetry(orientations, of[c])) ** 2))
            for c in range(len(mean))
        ]
    )
    turns, axes = _between(orientations, mean, of)
    made = record(
        "diffraction.orientation_clusters",
        {
            "max_angle_deg": angle, "least": fewest, "least_correlation": least_correlation,
            "least_confidence": least_confidence,
        },
        input_digest=digest(rotation, phase, good),
    )  # fmt: skip
    return OrientationClusters(
        labels=labels.reshape(orientations.disks.shape),
        sizes=np.bincount(labels[labels >= 0], minlength=len(mean)),
        phase=of,
        rotations=mean,
        spread_deg=spread,
        misorientation_deg=turns,
        axes=axes,
        notes=tuple(notes),
        provenance=made,
    )


def _symmetry(orientations: Orientations, number: int) -> Any:
    """Return the rotations of a phase as orix has them."""
    from orix.quaternion import Symmetry

    library = orientations.library
    if library.crystals:
        return library.crystals[number].point_group.laue_proper_subgroup
    return Symmetry(library.symmetries[number])


def _oriented(rotation: Floats, symmetry: Any) -> Any:
    """Return quaternions as orientations of orix."""
    from orix.quaternion import Orientation

    return Orientation(rotation, symmetry=symmetry)


def _angles_deg(rotation: Floats, mean: Floats, symmetry: Any) -> Floats:
    """Return the angles between orientations and one, symmetry included."""
    angle = _oriented(rotation, symmetry).angle_with(_oriented(mean[None], symmetry))
    return np.degrees(np.asarray(angle, np.float64)).ravel()


def _mean(rotation: Floats, symmetry: Any) -> Floats:
    """Return the mean of like orientations: all turned by symmetry to be near one of them, then averaged."""
    from orix.quaternion import Rotation

    mean = rotation[len(rotation) // 2]
    for _ in range(2):
        equal = symmetry.outer(Rotation(rotation)).data.reshape(symmetry.size, -1, 4)
        dot = equal @ mean
        best = np.abs(dot).argmax(axis=0)
        nearest = equal[best, np.arange(len(rotation))]
        mean = np.linalg.eigh(nearest.T @ nearest)[1][:, -1]
    return np.asarray(mean, np.float64)


def _between(orientations: Orientations, mean: Floats, phase: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return angles in degrees and axes of the least turns between orientations."""
    from orix.quaternion import Misorientation

    k = len(mean)
    angles, axes = np.full((k, k), np.nan), np.full((k, k, 3), np.nan)
    np.fill_diagonal(angles, 0.0)
    for number in np.unique(phase):
        same = np.flatnonzero(phase == number)
        i, j = (same[n] for n in np.triu_indices(len(same), 1))
        if not len(i):
            continue
        symmetry = _symmetry(orientations, number)
        turn = _oriented(mean[j], symmetry) * ~_oriented(mean[i], symmetry)
        least = Misorientation(turn.data, symmetry=(symmetry, symmetry)).reduce()
        angles[i, j] = angles[j, i] = np.degrees(np.ravel(least.angle))
        axes[i, j] = axes[j, i] = least.axis.data.reshape(-1, 3)
    return angles, axes
