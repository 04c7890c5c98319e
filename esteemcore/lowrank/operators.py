"""Matrices that are never dense in memory: compressed rows, and arrays that are read block by block."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError

BLOCK_BYTES = 32 * 2**20
"""Memory that one block of rows may take, as float64."""


class Sums(NamedTuple):
    """Sums of the rows (n,) and columns (channels,) of a matrix, and its lowest value where that is below zero."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    lowest: float


class RowBlocks:
    """A matrix of spectra whose rows are read in blocks, once per pass: Dask, h5py, zarr or memory-mapped arrays.

    Parameters
    ----------
    source : object with ``shape``, ``dtype`` and slices, shape (..., channels)
        Real numbers; all axes but the last are flattened to the rows of the matrix. Slices along the first axis are
        read one after the other, never two at a time.
    mask : ndarray of bool, shape of `source` without its last axis, optional
        True for the rows that belong to the matrix; all by default.

    Attributes
    ----------
    shape : tuple of int
        ``(rows, channels)``.
    dtype : numpy.dtype
        float32 where the source is float32, float64 otherwise: that of the blocks.
    ndim : int
        2.

    Raises
    ------
    ParameterError
        If the source is no array of real numbers with two axes at least, or the mask does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import lowrank
    >>> rows = lowrank.RowBlocks(np.ones((4, 5, 3)), mask=np.eye(4, 5, dtype=bool))
    >>> rows.shape, rows.times(np.eye(3)).sum()
    ((4, 3), np.float64(12.0))
    """

    ndim = 2

    def __init__(self, source: Any, mask: NDArray[np.bool_] | None = None) -> None:
        shape, dtype = tuple(getattr(source, "shape", ())), np.dtype(getattr(source, "dtype", np.void))
        if len(shape) < 2 or not all(shape) or dtype.kind not in "biuf":
            raise ParameterError(
                f"the matrix has shape {shape} and dtype {dtype}; expected real numbers (..., pixels, channels)"
            )
        if mask is not None and mask.shape != shape[:-1]:
            raise ParameterError(f"mask has shape {mask.shape}; expected {shape[:-1]}")
        self._source, self._mask = source, mask
        self._row: NDArray[Any] | None = None
        self._column: NDArray[Any] | None = None
        self._mean: NDArray[Any] | None = None
        self._watch: Callable[[], None] | None = None
        self.shape = (math.prod(shape[:-1]) if mask is None else int(mask.sum()), int(shape[-1]))
        self.dtype = np.dtype(np.float32 if dtype == np.float32 else np.float64)

    def weighted(self, row: NDArray[Any], column: NDArray[Any], mean: NDArray[Any] | None = None) -> RowBlocks:
        """Return the matrix ``row[:, None] * (self - mean) * column``, applied to each block as it is read."""
        other = RowBlocks(self._source, self._mask)
        other._row, other._column, other._mean, other._watch = row, column, mean, self._watch
        return other

    def watched(self, watch: Callable[[], None]) -> RowBlocks:
        """Return the same matrix that calls `watch` before each block is read: it may raise to stop the work."""
        other = RowBlocks(self._source, self._mask)
        other._row, other._column, other._mean, other._watch = self._row, self._column, self._mean, watch
        return other

    @property
    def parts(self) -> int:
        """In how many blocks the rows are read, about."""
        lines: int = self._source.shape[0]
        return -(-lines // self._lines(8 * math.prod(self._source.shape[1:])))

    def _lines(self, line_bytes: int) -> int:
        """Return how many lines of `line_bytes` are read at a time, no chunk in two parts if it fits."""
        lines = max(1, BLOCK_BYTES // line_bytes)
        chunk = (getattr(self._source, "chunks", None) or (1,))[0]
        if isinstance(chunk, int) and chunk * line_bytes <= 4 * BLOCK_BYTES:
            lines = max(1, lines // chunk) * chunk
        return lines

    def _read(self, line_bytes: int) -> Iterator[NDArray[Any]]:
        """Yield the rows as they are stored, some lines of `line_bytes` at a time."""
        lines = self._lines(line_bytes)
        for start in range(0, self._source.shape[0], lines):
            if self._watch is not None:
                self._watch()
            block = np.asarray(self._source[start : start + lines]).reshape(-1, self.shape[1])
            yield block if self._mask is None else block[self._mask[start : start + lines].ravel()]

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the place and the values of the blocks of rows, in order."""
        done = 0
        for block in self._read(8 * math.prod(self._source.shape[1:])):
            block = block.astype(self.dtype, copy=False)
            place = slice(done, done + len(block))
            done += len(block)
            if self._mean is not None:
                block = block - self._mean
            if self._row is not None and self._column is not None:
                block = block * self._column * self._row[place, None]
            yield place, block

    def compressed(self, most: int, mean: float) -> Any:
        """Return the matrix as compressed rows of float64, read in one pass, or None where it is not sparse.

        Parameters
        ----------
        most : int
            Entries that may be held in memory, 12 bytes each.
        mean : float
            The mean of all values is less than this, none is below zero, and all are stored as whole numbers;
            otherwise None is returned, as soon as that is seen.
        """
        stored = np.dtype(self._source.dtype)
        if stored.kind not in "biu":
            return None
        import scipy.sparse

        line_bytes = stored.itemsize * math.prod(self._source.shape[1:])
        channels, values, ends = [], [], [np.zeros(1, np.int64)]
        held, seen, total = 0, 0, 0.0
        for block in self._read(line_bytes):
            place = np.flatnonzero(block)
            found = block.ravel()[place].astype(np.float64)
            held, total, seen = held + len(place), total + float(found.sum()), seen + block.size
            if held > most or total > mean * max(seen, block.size) or found.min(initial=0) < 0:
                return None
            row, channel = np.divmod(place, self.shape[1])
            channels.append(channel.astype(np.int32))
            values.append(found)
            ends.append(ends[-1][-1] + np.bincount(row, minlength=len(block)).cumsum())
        offset = np.concatenate(ends).astype(np.int32 if held < 2**31 else np.int64)
        return scipy.sparse.csr_array((np.concatenate(values), np.concatenate(channels), offset), shape=self.shape)

    def times(self, right: NDArray[Any]) -> NDArray[Any]:
        """Return ``self @ right`` in one pass."""
        result = np.empty((self.shape[0], right.shape[1]), self.dtype)
        for place, block in self.blocks():
            with np.errstate(invalid="ignore"):  # callers tell in words what is not finite
                result[place] = block @ right
        return result

    def transposed_times(self, right: NDArray[Any]) -> NDArray[Any]:
        """Return ``self.T @ right`` in one pass."""
        result = np.zeros((self.shape[1], right.shape[1]), self.dtype)
        for place, block in self.blocks():
            with np.errstate(invalid="ignore"):
                result += block.T @ right[place]
        return result

    def sums(self) -> Sums:
        """Return the sums of rows and columns and the lowest value, in one pass."""
        rows, columns, lowest = np.empty(self.shape[0]), np.zeros(self.shape[1]), math.inf
        for place, block in self.blocks():
            if len(block):
                part = _dense_sums(block)
                rows[place], columns, lowest = part.rows, columns + part.columns, min(lowest, part.lowest)
        return Sums(rows, columns, lowest)


@dataclasses.dataclass(frozen=True, slots=True)
class CentredSparse:
    """Compressed rows less an outer product: what stays sparse when the mean spectrum is subtracted."""

    matrix: Any
    left: NDArray[Any]
    right: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of products."""
        found: np.dtype[Any] = np.dtype(self.matrix.dtype)
        return found

    def times(self, right: NDArray[Any]) -> NDArray[Any]:
        """Return ``self @ right``."""
        result: NDArray[Any] = self.matrix @ right - np.outer(self.left, self.right @ right).reshape(-1, right.shape[1])
        return result

    def transposed_times(self, right: NDArray[Any]) -> NDArray[Any]:
        """Return ``self.T @ right``."""
        result: NDArray[Any] = self.matrix.T @ right - self.right[:, None] * (self.left @ right)
        return result


def is_sparse(matrix: Any) -> bool:
    """Return whether a matrix is one of ``scipy.sparse``, without importing it."""
    return type(matrix).__module__.startswith("scipy.sparse")


def times(matrix: Any, right: NDArray[Any]) -> NDArray[Any]:
    """Return ``matrix @ right``, dense, for every kind of matrix."""
    result: NDArray[Any] = matrix.times(right) if hasattr(matrix, "transposed_times") else matrix @ right
    return result


def transposed_times(matrix: Any, right: NDArray[Any]) -> NDArray[Any]:
    """Return ``matrix.T @ right``, dense, for every kind of matrix."""
    if hasattr(matrix, "transposed_times"):
        result: NDArray[Any] = matrix.transposed_times(right)
    else:
        result = matrix.T @ right
    return result


def scaled(matrix: Any, row: NDArray[Any], column: NDArray[Any]) -> Any:
    """Return ``row[:, None] * matrix * column`` as the kind of matrix that it was, in the dtype of the weights."""
    if isinstance(matrix, RowBlocks):
        return matrix.weighted(row, column)
    if is_sparse(matrix):
        result = matrix.astype(row.dtype)  # a copy of the values
        result.data *= np.repeat(row, np.diff(result.indptr)) * column[result.indices]
        return result
    result = matrix.astype(row.dtype, copy=False) * column
    result *= row[:, None]
    return result


def sums(matrix: Any) -> Sums:
    """Return the sums of the rows and of the columns of a matrix and its lowest value; refuse NaN and infinities."""
    if isinstance(matrix, RowBlocks):
        return matrix.sums()
    if not is_sparse(matrix):
        return _dense_sums(matrix)
    _must_be_finite(matrix.data)
    rows = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    columns = np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel()
    return Sums(rows, columns, min(0.0, float(matrix.data.min(initial=0))))


def sum_of_squares(matrix: Any) -> float:
    """Return the sum of the squares of all entries."""
    if isinstance(matrix, RowBlocks):
        return float(sum(np.vdot(block, block) for _, block in matrix.blocks()))
    if isinstance(matrix, CentredSparse):
        inner = matrix.left @ (matrix.matrix @ matrix.right)
        outer = (matrix.left @ matrix.left) * (matrix.right @ matrix.right)
        return float(sum_of_squares(matrix.matrix) - 2 * inner + outer)
    values = matrix.data if is_sparse(matrix) else matrix
    return float(np.vdot(values, values))


def row_squares(matrix: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the squares of each row (n,), weighted by column, for rows of every kind."""
    if isinstance(matrix, RowBlocks):
        return np.concatenate([np.square(block, dtype=np.float64) @ weights for _, block in matrix.blocks()])
    if is_sparse(matrix):
        squared = matrix.astype(np.float64)
        squared.data **= 2
        return np.asarray(squared @ weights)
    return np.asarray(np.square(matrix, dtype=np.float64) @ weights)


def column_squares(matrix: Any) -> NDArray[np.float64]:
    """Return the sum of the squares of each column (m,), for rows of every kind."""
    if isinstance(matrix, RowBlocks):
        return np.sum([np.square(block, dtype=np.float64).sum(axis=0) for _, block in matrix.blocks()], axis=0)
    if is_sparse(matrix):
        return np.bincount(matrix.indices, np.square(matrix.data, dtype=np.float64), matrix.shape[1])
    return np.asarray(np.square(matrix, dtype=np.float64).sum(axis=0))


def _dense_sums(matrix: NDArray[Any]) -> Sums:
    """Return the sums of an array."""
    _must_be_finite(matrix)
    return Sums(
        matrix.sum(axis=1, dtype=np.float64), matrix.sum(axis=0, dtype=np.float64), float(matrix.min(initial=0))
    )


def _must_be_finite(values: NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ParameterError("the data hold NaN or infinite values; replace or leave out the pixels that do")


def real_matrix(matrix: Any) -> Any:
    """Return what is a matrix of real numbers: compressed rows, `RowBlocks` or an ndarray; refuse the rest."""
    if isinstance(matrix, (RowBlocks, CentredSparse)):
        return matrix
    array = matrix.tocsr() if is_sparse(matrix) else np.asarray(matrix)
    if array.ndim != 2 or not all(array.shape) or array.dtype.kind not in "biuf":
        raise ParameterError(
            f"the matrix has shape {array.shape} and dtype {array.dtype}; expected real numbers (pixels, channels)"
        )
    return array
