"""Spectrum images of every kind as one matrix, a spectrum per row: dense, lazy (Dask, h5py, zarr) and sparse."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import digest
from esteemcore.events import SparseSI
from esteemcore.lowrank import RowBlocks

FEW_PER_CHANNEL = 0.2
"""Whole numbers of a smaller mean are counts, most of them zero."""

MOST_HELD = 40_000_000
"""Counts of a lazy image that are kept in memory, half a gigabyte; more are read anew for every pass."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """The measured spectra of an image.

    Attributes
    ----------
    matrix : ndarray, scipy.sparse.csr_array or RowBlocks, shape (n, energy)
        The spectra where `mask` is True, in image order.
    mask : ndarray of bool, shape (y, x)
        The pixels that take part.
    digest : str or None
        Digest of the input; None for lazy arrays, which would have to be read for it.
    """

    matrix: Any
    mask: NDArray[np.bool_]
    digest: str | None

    @property
    def lazy(self) -> bool:
        """Whether the spectra are read block by block."""
        return isinstance(self.matrix, RowBlocks)

    @property
    def sparse(self) -> bool:
        """Whether the spectra are compressed rows."""
        return not self.lazy and not isinstance(self.matrix, np.ndarray)

    def as_maps(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values (n, ...) at their pixels (y, x, ...), NaN where the mask is False."""
        if self.mask.all():
            return values.reshape(self.mask.shape + values.shape[1:])
        maps = np.full(self.mask.shape + values.shape[1:], np.nan, values.dtype)
        maps[self.mask] = values
        return maps


def held(spectra: Spectra) -> Spectra:
    """Return sparse counts that are read block by block as compressed rows in memory, anything else as it is.

    They are read once instead of once per pass, and counts of less than `FEW_PER_CHANNEL` take a fraction of the array.
    """
    if not spectra.lazy:
        return spectra
    rows = spectra.matrix.compressed(MOST_HELD, FEW_PER_CHANNEL)
    return spectra if rows is None else dataclasses.replace(spectra, matrix=rows)


def spectra_of(si: Any, mask: ArrayLike | None = None) -> Spectra:
    """Return the spectra of an image, checked.

    Parameters
    ----------
    si : array_like, lazy array or SparseSI, shape (y, x, energy)
        Real numbers. An object that is no ndarray but has ``shape``, ``dtype`` and slices is read block by block.
    mask : array_like of bool, shape (y, x), optional
        True = takes part.

    Raises
    ------
    ParameterError
        If `si` is no spectrum image, holds masked values, or the mask does not fit or leaves nothing.
    """
    if isinstance(si, np.ma.MaskedArray) and np.ma.is_masked(si):
        raise ParameterError(
            "the spectrum image is a masked array: give its data, and mask= with True for valid pixels"
        )
    sparse = isinstance(si, SparseSI)
    lazy = (
        not sparse and not isinstance(si, np.ndarray) and all(hasattr(si, a) for a in ("shape", "dtype", "__getitem__"))
    )
    if not sparse and not lazy:
        try:
            si = np.asarray(si)
        except ValueError as error:
            raise ParameterError(f"the spectrum image is no array of numbers: {error}") from None
    shape, dtype = tuple(si.shape), np.dtype(si.dtype)
    if len(shape) != 3 or not all(shape) or dtype.kind not in "biuf":
        hint = "; add up the frames of a series first" if len(shape) > 3 else ""
        raise ParameterError(
            f"the spectrum image has shape {shape} and dtype {dtype}; expected real numbers (y, x, energy){hint}"
        )
    inside = np.ones(shape[:2], np.bool_) if mask is None else checks.boolean_mask("mask", mask, shape[:2])
    if not inside.any():
        raise ParameterError("mask is False everywhere; it is True where a pixel takes part")
    if lazy:
        return Spectra(RowBlocks(si, None if mask is None else inside), inside, None)
    if sparse:
        import scipy.sparse

        place = np.int32 if len(si.count) < 2**31 else np.int64  # half of what products read
        rows = scipy.sparse.csr_array(
            (si.count.astype(np.float64), si.channel.astype(place), si.offset.astype(place)),
            shape=(inside.size, shape[2]),
        )
        chosen = rows if inside.all() else rows[np.flatnonzero(inside)]
        return Spectra(chosen, inside, digest(si.offset, si.channel, si.count))
    matrix = si.reshape(-1, shape[2]) if inside.all() else si[inside]
    return Spectra(matrix, inside, digest(si))
