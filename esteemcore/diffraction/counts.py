"""Frames of a scan as whole counts, read some rows at a time; broken pixels of the detector filled in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.camera_gain import gain_notes
from esteemcore.diffraction.data4d import PIECE_BYTES, spec_of

SAMPLE = 4096
"""Frames, in whole rows spread over the scan, that tell where the beam is and which pixels are broken."""

ENOUGH = 20
"""Counts of the sample on both sides of rows, columns and patches without any, from which these are dead."""

PATCH = 16
"""Pixels of a dead patch at most: a larger one may be a beam stop."""

HOT = 10.0
"""A pixel with this many times the counts of the brightest of its eight neighbours is hot: no disk is that narrow."""


class Counts:
    """Frames as whole counts, never more than a piece of them in memory.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Counts, or an object with ``shape``, ``dtype`` and slices along the first two axes.
    check : callable, optional
        Called before each piece is read; what it raises ends the reading.
    mask : ndarray of bool, shape (ky, kx), optional
        True where a pixel is good.

    Attributes
    ----------
    spec : esteemcore.stream.Spec
    broken : ndarray of bool, shape (ky, kx)
        Masked pixels, dead rows, columns and patches, hot pixels; `pieces` gives them the counts of the nearest good
        one.
    masked : ndarray of bool, shape (ky, kx)
        Those that the mask leaves out.
    sample : ndarray of float64, shape (ky, kx)
        Mean of a sample of the frames, broken pixels filled in.
    notes : list of str
        What is wrong with the detector, or with its values as counts.

    Raises
    ------
    ParameterError
        If the data have other axes, or hold what counts cannot be: NaN, negative values, fractions.
    """

    def __init__(
        self, data4d: Any, check: Callable[[], None] | None = None, mask: NDArray[np.bool_] | None = None
    ) -> None:
        self.spec = spec_of(data4d)
        self._data, self._check = data4d, check
        self.notes: list[str] = []
        ky, kx = self.spec.frame_shape
        self.masked = np.zeros((ky, kx), np.bool_) if mask is None else ~mask
        if self.masked.all():
            raise ParameterError("mask is False everywhere; mark the good pixels True")
        self.broken = np.zeros((ky, kx), np.bool_)
        self._source: list[NDArray[np.int64]] = []
        total, frames, unit, values, first = np.zeros((ky, kx)), 0, 0, set[int](), None
        same = True
        for _, piece in self.pieces(self.sample_rows()):
            first = piece[0] if first is None else first
            same = same and bool((piece == first).all())
            total += piece.sum(axis=0, dtype=np.float64)
            frames += len(piece)
            if unit != 1:
                good = piece[:64, ~self.masked]
                unit = math.gcd(unit, int(np.gcd.reduce(good, axis=None)))
                values |= {int(good.min()), int(good.max())}
        if unit > 1 and len(values) == 1:
            raise ParameterError(f"all values of data4d are {unit}: there is no pattern in them")
        if unit > 1:
            raise ParameterError(
                f"all values of data4d are multiples of {unit}, which numbers of electrons are not; divide them by it"
            )
        self._find_broken(total / frames if same else total)  # many times one frame tell no more than that one
        if self.broken.any():
            total[self.broken] = total[self._source[0], self._source[1]]
        self.sample = total / frames
        self.notes += gain_notes(data4d, ~self.broken)

    def sample_rows(self) -> NDArray[np.int64]:
        """Return rows of the scan, evenly spread, with about `SAMPLE` frames."""
        ny, nx = self.spec.scan_shape
        n = min(ny, max(8, SAMPLE // nx))
        return np.unique(np.round(np.linspace(0, ny - 1, n)).astype(np.int64))

    def check(self) -> None:
        """Let the caller end a step that reads nothing."""
        if self._check is not None:
            self._check()

    def pieces(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield flat positions and their frames (n, ky, kx), uint16 or uint32, some rows or a part of one at a time."""
        ny, nx = self.spec.scan_shape
        at_once = max(1, PIECE_BYTES // (self.spec.pixels * max(self.spec.dtype.itemsize, 2)))
        together, columns = (max(1, at_once // nx), min(nx, at_once)) if rows is None else (1, min(nx, at_once))
        for y in range(0, ny, together) if rows is None else rows:
            for x in range(0, nx, columns):
                self.check()
                block = np.asarray(self._data[y : y + together, x : x + columns])
                block = block.reshape(-1, *self.spec.frame_shape)
                frames = _whole(np.where(self.masked, 0, block) if self.masked.any() else block)
                if self.broken.any():
                    frames = frames.copy()
                    frames[:, self.broken] = frames[:, self._source[0], self._source[1]]
                first = int(y) * nx + x
                yield slice(first, first + len(frames)), frames

    def _find_broken(self, total: NDArray[np.float64]) -> None:
        """Find rows, columns and patches without counts between others that have some, and hot pixels."""
        dead = np.zeros(total.shape, np.bool_)
        for axis, word in ((0, "row"), (1, "column")):
            silent = np.setdiff1d(
                silent_lines(total.sum(axis=1 - axis)), np.flatnonzero(self.masked.all(axis=1 - axis))
            )
            if len(silent):
                dead[(silent, slice(None)) if axis == 0 else (slice(None), silent)] = True
                names = ", ".join(str(k) for k in silent[:6]) + (", ..." if len(silent) > 6 else "")
                self.notes.append(
                    f"detector {word} {names} has no counts: it is taken as dead and filled from its neighbour"
                    if len(silent) == 1
                    else f"detector {word}s {names} have no counts: they are taken as dead and filled from the nearest"
                )
        patches = _patches(total, self.masked | dead)
        if patches.any():
            self.notes.append(f"{int(patches.sum())} dead pixels of the detector are filled from their neighbours")
        hot = hot_pixels(total) & ~dead
        if hot.any():
            self.notes.append(f"{int(hot.sum())} hot pixels of the detector are filled from their neighbours")
        self.broken = self.masked | dead | patches | hot
        if self.broken.any():
            places = ndimage.distance_transform_edt(self.broken, return_distances=False, return_indices=True)
            self._source = list(places[:, self.broken])


def silent_lines(sums: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the lines without counts between lines with some.

    Up to three in a row must lie among bright ones, and beside such. More may be dark between rows of reflections: they
    are dead if counts break off, that is, if the lines on both sides of them are no fainter than those further out.
    """
    lit = np.flatnonzero(sums)
    if not len(lit):
        return lit
    inside = (sums == 0) & (np.arange(len(sums)) > lit[0]) & (np.arange(len(sums)) < lit[-1])
    dead = inside & (ndimage.median_filter(sums, 7) > ENOUGH)
    runs, n = ndimage.label(inside)
    for k in range(1, n + 1):
        run = np.flatnonzero(runs == k)
        before, after = lit[lit < run[0]][-4:][::-1], lit[lit > run[-1]][:4]
        dead[run] &= min(sums[before[0]], sums[after[0]]) > ENOUGH
        if all(sums[side[0]] > max(ENOUGH, 0.5 * np.median(sums[side])) for side in (before, after)):
            dead[run] = True
    return np.flatnonzero(dead)


def hot_pixels(total: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels with many times the counts of all their neighbours."""
    eight = np.ones((3, 3), np.bool_)
    eight[1, 1] = False
    hot: NDArray[np.bool_] = total > HOT * (ndimage.maximum_filter(total, footprint=eight) + 1)
    return hot & (total > 100)


def _patches(total: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return small areas without counts all of whose neighbours have many."""
    result = np.zeros(total.shape, np.bool_)
    areas, n = ndimage.label((total == 0) & ~known, np.ones((3, 3)))
    sizes = np.bincount(areas.ravel(), minlength=n + 1)
    for k, box in enumerate(ndimage.find_objects(areas), start=1):
        if sizes[k] > PATCH:
            continue
        near = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        own = areas[near] == k
        around = ndimage.binary_dilation(own, np.ones((3, 3))) & ~own & ~known[near]
        if around.any() and total[near][around].min() > ENOUGH:
            result[near] |= own
    return result


def _whole(frames: NDArray[Any]) -> NDArray[Any]:
    """Return frames as uint16 or uint32 in the byte order of this machine; refuse what counts cannot be."""
    if frames.dtype.kind == "b" or frames.dtype in (np.uint8, np.uint16, np.uint32):
        return np.ascontiguousarray(frames, np.uint32 if frames.dtype.itemsize == 4 else np.uint16)
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        raise ParameterError("data4d holds NaN or infinite values; replace them, or leave out the positions that do")
    if frames.size and frames.min() < 0:
        raise ParameterError(
            f"data4d holds values down to {float(frames.min()):g}, which counts cannot be; do not subtract a background"
        )
    if frames.dtype.kind == "f" and (frames != np.rint(frames)).any():
        raise ParameterError("data4d holds fractions, which counts cannot be; divide by the gain and round")
    if frames.max(initial=0) > np.iinfo(np.uint32).max:
        raise ParameterError(f"data4d holds values up to {float(frames.max()):g}; no frame has that many electrons")
    return np.ascontiguousarray(frames, np.uint32)
