"""Classes of specimen pixels with like spectra, found so that a spectrum image coded class by class is smallest."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore.codec import maps

BANDS = 32
"""Bands of energy, of equal counts, by which pixels are told apart."""

CLASSES = (2, 3, 4, 6, 8)
BINS = (8, 4, 2)
SEED_BINS = 16
TABLE_BITS = 1200.0
"""What the table of a further class costs, about."""

_ROUNDS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class PixelClasses:
    """Classes of pixels, in square bins.

    Attributes
    ----------
    bins : int
        Side of a bin in pixels.
    cells : ndarray of uint8, shape (rows, columns)
        Class of each bin.
    coded : bytes
        The map as `maps.encode_map` codes it; empty when all pixels are of one class.
    """

    bins: int
    cells: NDArray[np.uint8]
    coded: bytes


def one_class(shape: tuple[int, int]) -> PixelClasses:
    """Return a single class for all pixels."""
    side = max(*shape, 1)
    return PixelClasses(side, np.zeros((-(-shape[0] // side), -(-shape[1] // side)), np.uint8), b"")


def find_classes(
    offset: NDArray[np.int64], channel: NDArray[np.uint32], hits: NDArray[np.int64], shape: tuple[int, int]
) -> PixelClasses:
    """Sort pixels into classes by a mixture of Poisson spectra (classification EM; Celeux & Govaert 1992).

    Parameters
    ----------
    offset, channel : ndarray
        Entries of the pixels, as in `SparseSI`.
    hits : ndarray of int64, shape (energy,)
        Entries in each channel.
    shape : (int, int)
        Rows (of all frames) and columns of pixels.

    References
    ----------
    G. Celeux, G. Govaert, Comput. Stat. Data Anal. 14 (1992) 315, https://doi.org/10.1016/0167-9473(92)90042-E.
    """
    single = one_class(shape)
    gain = 0.0
    best = single
    if len(channel) < 4096 or min(shape) < SEED_BINS:
        return single
    below = np.cumsum(hits) - hits
    band = (below * BANDS // max(int(hits.sum()), 1)).astype(np.uint8)
    seeds, seed_area = _cells(offset, channel, band, shape, SEED_BINS)
    levels = [(bins, *_cells(offset, channel, band, shape, bins)) for bins in BINS]
    flat = _bits(seeds.sum(axis=0, keepdims=True), np.array([seed_area.sum()]))
    for count in CLASSES:
        labels = _rounds(seeds, seed_area, _farthest(seeds, seed_area, count))
        improved = False
        for bins, counts, area in levels:
            rates = _rates(seeds, seed_area, labels, count)
            labels_fine = _rounds(counts, area, _assign(counts, area, rates))
            used, labels_fine = np.unique(labels_fine, return_inverse=True)
            sums, areas = _sums(counts, area, labels_fine, len(used))
            order = np.argsort(sums.sum(axis=1) / areas)
            cells = np.argsort(order)[labels_fine].astype(np.uint8).reshape(-(-shape[0] // bins), -(-shape[1] // bins))
            coded = maps.encode_map(cells)
            here = flat - _bits(sums, areas) - 8 * len(coded) - TABLE_BITS * (len(used) - 1)
            if here <= gain and improved:
                break
            if here > gain:
                gain, best, improved = here, PixelClasses(bins, cells, coded), True
        if not improved:
            break
    return best


def _cells(
    offset: NDArray[np.int64], channel: NDArray[np.uint32], band: NDArray[np.uint8], shape: tuple[int, int], bins: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return entries of each bin in each band, shape (bins, bands), and the pixels of each bin."""
    from esteemcore.codec import _entry_kernels

    rows, columns = (-(-n // bins) for n in shape)
    cell = (np.arange(shape[0])[:, None] // bins * columns + np.arange(shape[1]) // bins).ravel().astype(np.uint32)
    counts = np.zeros((rows * columns, BANDS), np.float32)
    _entry_kernels.bin_bands(offset, channel, cell, band, counts)
    return counts, np.bincount(cell).astype(np.float32)


def _sums(
    counts: NDArray[np.floating], area: NDArray[np.floating], labels: NDArray[np.int64], count: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return entries (classes, bands) and pixels of the classes."""
    from esteemcore.codec import _entry_kernels

    sums, areas = np.zeros((count, counts.shape[1])), np.zeros(count)
    _entry_kernels.add_classes(counts, area, labels, sums, areas)
    return sums, areas


def _rates(
    counts: NDArray[np.floating], area: NDArray[np.floating], labels: NDArray[np.int64], count: int
) -> NDArray[np.floating]:
    """Return the rates of the classes in the bands, none of them zero."""
    sums, areas = _sums(counts, area, labels, count)
    whole = counts.sum(axis=0) + 1
    return np.asarray((sums + whole / whole.sum()) / np.maximum(areas, 1)[:, None], np.float64)


def _assign(counts: NDArray[np.floating], area: NDArray[np.floating], rates: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the most likely class of each bin."""
    from esteemcore.codec import _entry_kernels

    labels = np.zeros(len(area), np.int64)
    _entry_kernels.nearest_class(counts, area, rates, labels)
    return labels


def _rounds(counts: NDArray[np.floating], area: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Improve classes by turns of rates and assignments."""
    for _ in range(_ROUNDS):
        better = _assign(counts, area, _rates(counts, area, labels, int(labels.max()) + 1))
        if np.array_equal(better, labels):
            break
        labels = better
    return labels


def _farthest(counts: NDArray[np.floating], area: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return first classes: the bins that are farthest from the classes before them, and who is nearest to them."""
    rates = _rates(counts, area, np.zeros(len(area), np.int64), 1)
    labels = np.zeros(len(area), np.int64)
    for k in range(1, count):
        expected = area[:, None] * rates[labels]
        deviance = (counts * np.log(np.maximum(counts, 0.5) / expected) - counts + expected).sum(axis=1)
        labels[int(np.argmax(deviance))] = k
        rates = _rates(counts, area, labels, k + 1)
        labels = _rounds(counts, area, _assign(counts, area, rates))
        missing = k - int(labels.max())
        if missing > 0:
            break
        rates = _rates(counts, area, labels, k + 1)
    return labels


def _bits(sums: NDArray[np.floating], areas: NDArray[np.floating]) -> float:
    """Return the bits that depend on how entries are shared out among classes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(sums > 0, sums * np.log2(areas[:, None] / sums), 0)
    return float(bits.sum(dtype=np.float64))
