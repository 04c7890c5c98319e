"""Sums over blocks of pixels and channels: fewer, better filled bins in which weak components stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral._spectra import Spectra


def binned(spectra: Spectra, pixels: int, channels: int) -> tuple[Any, NDArray[np.float64]]:
    """Return the sums over blocks of ``pixels * pixels`` pixels and ``channels`` channels.

    Returns
    -------
    matrix : ndarray or scipy.sparse.csr_array of float64, shape (bins, energy bins)
        Blocks without a pixel that takes part are left out; partial blocks at the rims are kept.
    filled : ndarray of float64, shape (bins,)
        Pixels in each block.
    """
    label, n = block_labels(spectra.mask, pixels)
    filled = np.bincount(label, minlength=n).astype(np.float64)
    energies = -(-spectra.matrix.shape[1] // channels)
    if spectra.sparse:
        import scipy.sparse

        entry = np.repeat(label, np.diff(spectra.matrix.indptr))
        where = (entry, spectra.matrix.indices // channels)
        return scipy.sparse.coo_array((spectra.matrix.data, where), shape=(n, energies)).tocsr(), filled
    result = np.zeros((n, energies))
    pieces = spectra.matrix.blocks() if spectra.lazy else [(slice(None), spectra.matrix)]
    starts = np.arange(0, spectra.matrix.shape[1], channels)
    for place, block in pieces:
        if channels > 1:
            block = np.add.reduceat(block, starts, axis=1, dtype=np.float64)
        if pixels == 1:
            result[label[place]] = block
            continue
        order = np.argsort(label[place], kind="stable")
        labels, first = np.unique(label[place][order], return_index=True)
        result[labels] += np.add.reduceat(block[order], first, axis=0, dtype=np.float64)
    return result, filled


def block_labels(mask: NDArray[np.bool_], pixels: int) -> tuple[NDArray[np.int64], int]:
    """Return the block of each pixel that takes part, numbered without gaps, and how many blocks there are."""
    y, x = np.nonzero(mask)
    across = -(-mask.shape[1] // pixels)
    _, label = np.unique((y // pixels) * across + x // pixels, return_inverse=True)
    return label.astype(np.int64), int(label.max()) + 1
