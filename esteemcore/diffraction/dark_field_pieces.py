"""Pieces of dark-field images, and which of them are one grain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Floats = NDArray[np.float64]

SOFT_PX = 0.8
"""Positions over which a dark-field image is smoothed."""
PIECE = 0.4
"""Part of the brightness of an image, or of a grain, above which it is bright."""
LEVEL = 0.9
"""Share of what an image holds that lies below its brightness."""
OUTSIDE = 2
"""Positions of the scan and of the dark round it, in units of the scan."""
SAME = 0.6
"""Cosine of the shares of positions that show each reflection, from which two groups that touch are one grain."""


def smoothed(values: Floats, shape: tuple[int, int]) -> Floats:
    """Return an image, given and returned flat, smoothed as dark-field images are."""
    return np.asarray(ndimage.gaussian_filter(values.reshape(shape), SOFT_PX, mode="nearest").ravel())


def cut_pieces(
    bright: sparse.csc_array, shape: tuple[int, int], least: int
) -> tuple[sparse.csr_array, NDArray[np.int64], Floats]:
    """Cut the image of each reflection into connected bright pieces.

    Returns
    -------
    pieces : scipy.sparse.csr_array, shape (pieces, positions)
    of : ndarray of int64, shape (pieces,)
        Reflection of each.
    length : ndarray of float64, shape (positions,)
        Root of the sum of the squares of all images.
    """
    values, where, starts, of = [], [], [0], []
    squares = np.zeros(shape)
    for j in range(bright.shape[1]):
        column = slice(bright.indptr[j], bright.indptr[j + 1])
        image = np.zeros(shape[0] * shape[1])
        np.add.at(image, bright.indices[column], bright.data[column])
        soft = ndimage.gaussian_filter(image.reshape(shape), SOFT_PX, mode="nearest")
        squares += soft**2
        piece, number = ndimage.label(soft > PIECE * _level(soft))
        size = np.bincount(piece.ravel(), minlength=number + 1)
        for k in range(1, number + 1):
            if size[k] < least:
                continue
            own = np.flatnonzero(piece == k)
            where.append(own)
            values.append(soft.ravel()[own])
            starts.append(starts[-1] + len(own))
            of.append(j)
    if not of:
        return sparse.csr_array((0, shape[0] * shape[1])), np.zeros(0, np.int64), np.sqrt(squares).ravel()
    pieces = sparse.csr_array(
        (np.concatenate(values), np.concatenate(where), np.array(starts)), shape=(len(of), shape[0] * shape[1])
    )
    return pieces, np.array(of), np.sqrt(squares).ravel()


def _level(values: Floats) -> float:
    """Return how bright an image is where it is bright: below that lie `LEVEL` of all that it holds."""
    order = np.sort(values, axis=None)
    below = int(np.searchsorted(np.cumsum(order), LEVEL * order.sum()))
    return float(order[min(below, order.size - 1)])


def joined(pieces: sparse.csr_array, alike: float) -> NDArray[np.int64]:
    """Return the group of each piece: those whose summed images are correlated are joined, the most alike first.

    The scan counts as if as much again lay round it in the dark: what fills the scan has no contrast within it.
    """
    number, positions = pieces.shape[0], OUTSIDE * pieces.shape[1]
    norm = np.sqrt(np.asarray(pieces.multiply(pieces).sum(axis=1)).ravel())
    scaled = sparse.diags_array(1 / np.maximum(norm, 1e-12)) @ pieces
    product = np.asarray((scaled @ scaled.T).todense())
    total = np.asarray(scaled.sum(axis=1)).ravel()
    group, there = np.arange(number), np.ones(number, np.bool_)

    def correlation(i: int) -> Floats:
        spread = np.maximum(np.diag(product) - total**2 / positions, 1e-12)
        row = (product[i] - total[i] * total / positions) / np.sqrt(spread[i] * spread)
        return np.where(there & (np.arange(number) != i), row, -1.0)

    table = np.array([correlation(i) for i in range(number)]).reshape(number, number)
    while there.sum() > 1:
        i, j = np.unravel_index(int(table.argmax()), table.shape)
        if table[i, j] < alike:
            break
        group[group == j] = i
        there[j] = False
        product[i] += product[j]
        product[:, i] += product[:, j]
        total[i] += total[j]
        table[j], table[:, j] = -1.0, -1.0
        table[i] = correlation(int(i))
        table[:, i] = table[i]
    return np.unique(group, return_inverse=True)[1].astype(np.int64) if number else group


def linked(
    found: list[NDArray[np.int64]],
    label: NDArray[np.int64],
    confidence: Floats,
    bright: sparse.csr_array,
    shape: tuple[int, int],
) -> list[NDArray[np.int64]]:
    """Return the pieces of each grain: groups that touch and whose positions show the same reflections are joined.

    In a bent grain reflections light up in different places, so that the images of its groups need not be alike.
    """
    number = len(found)
    inside = label == np.arange(number)[:, None]
    wide = np.array([ndimage.binary_dilation(one.reshape(shape)).ravel() for one in inside]).reshape(inside.shape)
    weight = inside * np.maximum(2 * confidence - 1, 0.05)  # little where two are alike: there may be two grains
    counts = (sparse.csr_array(weight) @ (bright > 0).astype(np.float64)).toarray()
    touching = wide.astype(np.float32) @ inside.T.astype(np.float32) > 0
    there = inside.any(axis=1)
    while there.sum() > 1:
        rate = np.sqrt(counts)
        rate /= np.maximum(np.linalg.norm(rate, axis=1, keepdims=True), 1e-12)
        alike = np.where(touching & there[:, None] & there, rate @ rate.T, -1.0)
        np.fill_diagonal(alike, -1.0)
        i, j = np.unravel_index(int(alike.argmax()), alike.shape)
        if alike[i, j] < SAME:
            break
        found[i] = np.concatenate([found[i], found[j]])
        counts[i] += counts[j]
        touching[i] |= touching[j]
        touching[:, i] |= touching[:, j]
        there[j] = False
    return [own for own, kept in zip(found, there, strict=True) if kept]
