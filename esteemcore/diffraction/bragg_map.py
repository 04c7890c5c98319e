"""The Bragg-vector map of a stream of frames, which forms while they arrive, in memory that does not grow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.disks import Disks
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.origins import beam_places
from esteemcore.diffraction.table import COLUMNS
from esteemcore.stream import AdditiveReducer, Chunk, Spec, Sums

Y, X, INTENSITY = (COLUMNS.index(name) for name in ("y", "x", "intensity"))


@dataclasses.dataclass(frozen=True, eq=False)
class BraggVectors:
    """Where disks lie as seen from the direct beam, and how many there are where on the specimen.

    Attributes
    ----------
    vectors : ndarray of int64, shape (ky * oversampling, kx * oversampling)
        Disks in each bin. The centre of bin i is at ``(i + 0.5) / oversampling - 0.5`` px; the direct beams lie in the
        bins of pixel (ky // 2, kx // 2).
    disks : ndarray of float64, shape (y, x)
        Disks per frame at each position, the direct beam among them; NaN where there was no frame.
    visits : ndarray of uint32, shape (y, x)
        Frames at each position.
    oversampling : int
        Bins per pixel along each axis.
    provenance : Provenance
    """

    vectors: NDArray[np.int64]
    disks: NDArray[np.float64]
    visits: NDArray[np.uint32]
    oversampling: int
    provenance: Provenance

    @property
    def per_frame(self) -> float:
        """Mean number of disks of a frame; NaN before the first."""
        frames = int(self.visits.sum())
        return float(np.nansum(self.disks * self.visits)) / frames if frames else float("nan")

    @property
    def axes_px(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Centre of the first bin, and step, of rows and of columns in px as seen from the direct beam."""
        step = 1 / self.oversampling
        row, column = ((step - 1) / 2 - n // self.oversampling // 2 for n in self.vectors.shape)
        return (row, step), (column, step)


class BraggMap(AdditiveReducer):
    """Find the disks of every frame and count them by their place as seen from the direct beam.

    A live view of what `find_disks` will find: sharp peaks where the specimen has reflections. Only counts are kept, so
    that memory and the time of a result do not grow with the scan. The table of all disks is what `Disks` makes.

    Parameters
    ----------
    radius_px : float or (float, float)
        Radius of a disk in detector px, 1.5 or more; or half axes along rows and columns, where pixels are not square.
    significance : float
        Least score of a disk, in standard deviations; see `Disks`. At 5 hardly any is false.
    oversampling : int
        Bins per pixel along each axis, 1 to 8.
    center, mask, distortion, threads
        See `Disks`.

    Raises
    ------
    ParameterError
        If a value makes no sense, or disks of this radius do not fit on the frames.

    See Also
    --------
    bragg_vector_map : The same of a table of disks, shared between neighbouring bins.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction, stream
    >>> y, x = np.mgrid[:32, :32]
    >>> lattice = [(15.0, 15.0, 90.0), (15.0, 26.0, 30.0)]
    >>> frame = sum(height / (1 + np.exp(4 * (np.hypot(y - i, x - j) - 3))) for i, j, height in lattice)
    >>> spec = stream.Spec((1, 1), (32, 32), np.uint16)
    >>> chunk = stream.Chunk(np.zeros(1, np.int64), np.round(frame + 1).astype(np.uint16)[None])
    >>> found = stream.run({"bragg": diffraction.BraggMap(3.0, oversampling=1)}, spec, [chunk])["bragg"]
    >>> np.argwhere(found.vectors).tolist(), found.disks.tolist()
    ([[16, 16], [16, 27]], [[2.0]])
    """

    def __init__(
        self,
        radius_px: float | tuple[float, float],
        *,
        significance: float = 5.0,
        oversampling: int = 2,
        center: ArrayLike | Descan | None = None,
        mask: ArrayLike | None = None,
        distortion: ArrayLike | Ellipse | None = None,
        threads: int | None = None,
    ) -> None:
        self.oversampling = checks.integer("oversampling", oversampling, minimum=1, maximum=8)
        radius, distortion = _round(radius_px, distortion)
        self._disks = Disks(
            radius, significance=significance, center=center, mask=mask, distortion=distortion, threads=threads
        )

    def zeros(self, spec: Spec) -> dict[str, NDArray[Any]]:
        """Return empty counts of places and of disks."""
        self._disks.check(spec)
        ky, kx = (n * self.oversampling for n in spec.frame_shape)
        return {"vectors": np.zeros((ky, kx), np.int64), "disks": np.zeros(spec.positions, np.int64)}

    def add(self, state: Sums, chunk: Chunk) -> None:
        """Count the disks of a chunk."""
        number, rows, _ = self._disks.rows(state.spec, chunk)
        np.add.at(state["disks"], chunk.index, number)
        vectors, fine = state["vectors"], self.oversampling
        away = self._from_the_beam(state.spec, chunk.index, number, rows) + np.array(state.spec.frame_shape) // 2
        row, column = np.floor((away + 0.5) * fine).astype(np.int64).T
        inside = (row >= 0) & (row < vectors.shape[0]) & (column >= 0) & (column < vectors.shape[1])
        np.add.at(vectors, (row[inside], column[inside]), 1)

    def _from_the_beam(
        self, spec: Spec, index: NDArray[np.int64], number: NDArray[np.int64], rows: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the place (row, column) of each disk as seen from the direct beam of its frame, in px."""
        places = rows[:, [Y, X]].astype(np.float64)
        frame = np.repeat(np.arange(len(number)), number)
        if self._disks.center is not None:
            given = beam_places(self._disks.center, spec.scan_shape)
            return places - (given if len(given) == 1 else given[index[frame]])
        beam = np.zeros((len(number), 2))
        order = np.argsort(rows[:, INTENSITY], kind="stable")
        beam[frame[order]] = places[order]
        return places - beam[frame]

    def result(self, state: Sums) -> BraggVectors:
        """Return the counts of what has come so far."""
        visits = state["visits"]
        disks = np.full(len(visits), np.nan)
        np.divide(state["disks"], visits, out=disks, where=visits > 0)
        parameters = self._disks.parameters() | {"oversampling": self.oversampling}
        shape = state.spec.scan_shape
        return BraggVectors(
            state["vectors"].copy(),
            disks.reshape(shape),
            visits.reshape(shape).copy(),
            self.oversampling,
            record("diffraction.BraggMap", parameters, input_digest=digest(*state.arrays.values())),
        )


def _round(radius_px: Any, distortion: ArrayLike | Ellipse | None) -> tuple[float, ArrayLike | Ellipse | None]:
    """Return the radius of a round disk, and what makes disks on the detector of round ones."""
    if np.ndim(radius_px) == 0:
        return radius_px, distortion
    if np.shape(radius_px) != (2,):
        raise ParameterError(f"radius_px is {radius_px!r}; expected a radius in px, or half axes (row, column)")
    axes = np.array([checks.positive("radius_px", axis, "px") for axis in radius_px])
    radius = float(np.sqrt(axes.prod()))
    if axes[0] == axes[1]:
        return radius, distortion
    squeezed = np.diag(axes / radius)
    return radius, squeezed if distortion is None else squeezed @ distortion_matrix(distortion)
