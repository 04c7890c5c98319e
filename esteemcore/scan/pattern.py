"""The order in which the beam visits the positions of a scan."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record


@dataclasses.dataclass(frozen=True, eq=False)
class ScanPattern:
    """Positions of a scan in the order of their visits; all arrays are read-only.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the scan, ``(ny, nx)``.
    order : ndarray of int64, shape (n,)
        Flat positions ``y * nx + x`` in the order of the visits. Positions may be left out (sparse scans) and
        visited again.
    name : str
        What kind of pattern it is, e.g. ``"serpentine"``.
    seed : int or None
        Seed of the random numbers, where there are any.
    line_starts : ndarray of int64, shape (lines,)
        Visits that begin a line which the beam leaves by a flyback. Each line costs one flyback, the last one too (the
        beam returns to the start of the next frame). Empty for patterns that have no lines (Hilbert curve, spiral,
        shuffled) or no returns (serpentine).
    positions : ndarray of float64, shape (n, 2)
        Where the beam is put, as (row, column) in px; pixel centres are at integers. By default those of ``order``;
        if given they must lie within half a pixel of them.
    provenance : Provenance
        How the pattern was made.

    Raises
    ------
    ParameterError
        If a position lies outside the scan, or the arrays do not belong together.

    Examples
    --------
    >>> ScanPattern((2, 2), [0, 3], name="diagonal").mask.tolist()
    [[True, False], [False, True]]
    """

    shape: tuple[int, int]
    order: NDArray[np.int64]
    name: str = "user"
    seed: int | None = None
    line_starts: NDArray[np.int64] = dataclasses.field(default=None, repr=False)  # type: ignore[arg-type]
    positions: NDArray[np.float64] = dataclasses.field(default=None, repr=False)  # type: ignore[arg-type]
    provenance: Provenance = dataclasses.field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        ny, nx = checks.shape_2d("shape", self.shape)
        order = checks.flat_indices("order", self.order, ny * nx).copy()
        if order.size == 0:
            raise ParameterError("order is empty; a scan pattern visits at least one position")
        line_starts = checks.flat_indices(
            "line_starts", () if self.line_starts is None else self.line_starts, order.size
        ).copy()
        if np.any(np.diff(line_starts) <= 0):
            raise ParameterError("line_starts must rise from visit to visit, each line once")
        centres = np.stack(np.divmod(order, nx), axis=1).astype(np.float64)
        positions = centres
        if self.positions is not None:
            positions = _as_positions("positions", self.positions).copy()
            if positions.shape != centres.shape or np.abs(positions - centres).max() > 0.5:
                raise ParameterError(
                    f"positions have shape {positions.shape} for {order.size} visits; expected one (row, column) per "
                    "visit, within half a pixel of the position in order"
                )
        if not isinstance(self.name, str) or not self.name:
            raise ParameterError(f"name is {self.name!r}; expected a word for the pattern")
        seed = None if self.seed is None else checks.integer("seed", self.seed, minimum=0)
        provenance = self.provenance
        if provenance is None:
            parameters = {"shape": (ny, nx), "name": self.name}
            provenance = record("scan.ScanPattern", parameters, seed=seed, input_digest=digest(order, positions))
        for array in (order, line_starts, positions):
            array.setflags(write=False)
        for key, value in (("shape", (ny, nx)), ("order", order), ("seed", seed), ("line_starts", line_starts)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "provenance", provenance)

    def __len__(self) -> int:
        """Return the number of visits."""
        return int(self.order.size)

    @cached_property
    def visits(self) -> NDArray[np.int64]:
        """How often each position is visited, int64 (y, x)."""
        counts = np.bincount(self.order, minlength=self.shape[0] * self.shape[1]).reshape(self.shape)
        counts.setflags(write=False)
        return counts

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which positions are visited, bool (y, x)."""
        mask = self.visits > 0
        mask.setflags(write=False)
        return mask


def from_order(
    shape: Sequence[int],
    order: ArrayLike,
    *,
    name: str = "user",
    repeats: bool = False,
    line_starts: ArrayLike = (),
) -> ScanPattern:
    """Make a scan pattern from your own list of flat positions.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    order : array_like of int, shape (n,)
        Flat positions ``y * nx + x`` in the order of the visits.
    name : str
        A word for the pattern.
    repeats : bool
        Allow positions to be visited more than once. Off by default, because a repeat in a list is mostly a mistake.
    line_starts : array_like of int, optional
        Visits that begin a line which ends with a flyback, see `ScanPattern`.

    Raises
    ------
    ParameterError
        If a position lies outside the scan, or is repeated although ``repeats`` is off.

    Examples
    --------
    >>> from_order((2, 3), [5, 0, 2]).positions.tolist()
    [[1.0, 2.0], [0.0, 0.0], [0.0, 2.0]]
    """
    ny, nx = checks.shape_2d("shape", shape)
    flat = checks.flat_indices("order", order, ny * nx)
    _check_repeats(flat, nx, repeats)
    parameters = {"shape": (ny, nx), "name": name, "repeats": repeats}
    made = record("scan.from_order", parameters, input_digest=digest(flat))
    return ScanPattern((ny, nx), flat, name, line_starts=np.asarray(line_starts), provenance=made)


def from_positions(
    shape: Sequence[int], positions: ArrayLike, *, name: str = "user", repeats: bool = False
) -> ScanPattern:
    r"""Make a scan pattern from coordinates, such as the two columns of a CSV file.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    positions : array_like of float, shape (n, 2)
        (row, column) in px in the order of the visits, pixel centres at integers. Fractions are kept in
        ``positions``; ``order`` holds the nearest pixel.
    name : str
        A word for the pattern.
    repeats : bool
        Allow a pixel to be visited more than once.

    Raises
    ------
    ParameterError
        If a coordinate is not finite or more than half a pixel outside the scan, or a pixel is repeated.

    Examples
    --------
    >>> import io
    >>> csv = np.loadtxt(io.StringIO("0, 0\n1.25, 2"), delimiter=",")
    >>> from_positions((2, 3), csv).order.tolist()
    [0, 5]
    """
    ny, nx = checks.shape_2d("shape", shape)
    place = _as_positions("positions", positions)
    if place.size and (place.min() < -0.5 or place[:, 0].max() > ny - 0.5 or place[:, 1].max() > nx - 0.5):
        raise ParameterError(
            f"positions run from {place.min(axis=0).tolist()} to {place.max(axis=0).tolist()} (row, column), but the "
            f"scan of shape {(ny, nx)} ends at {[ny - 0.5, nx - 0.5]}; give pixels, first row and column 0"
        )
    nearest = np.clip(np.floor(place + 0.5).astype(np.int64), 0, (ny - 1, nx - 1))
    order = nearest[:, 0] * nx + nearest[:, 1]
    _check_repeats(order, nx, repeats)
    parameters = {"shape": (ny, nx), "name": name, "repeats": repeats}
    made = record("scan.from_positions", parameters, input_digest=digest(place))
    return ScanPattern((ny, nx), order, name, positions=place, provenance=made)


def _as_positions(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return ``value`` as finite float64 (n, 2)."""
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iuf":
        raise ParameterError(f"{name} have shape {array.shape} and dtype {array.dtype}; expected (n, 2) numbers")
    if not np.isfinite(array).all():
        raise ParameterError(f"{name} hold values that are not finite; leave those visits out")
    return np.ascontiguousarray(array, dtype=np.float64)


def _check_repeats(order: NDArray[np.int64], nx: int, repeats: bool) -> None:
    if repeats or order.size < 2:
        return
    position, count = np.unique(order, return_counts=True)
    if count.max() > 1:
        y, x = divmod(int(position[count.argmax()]), nx)
        raise ParameterError(
            f"position (row {y}, column {x}) is visited {count.max()} times; pass repeats=True if that is meant"
        )
