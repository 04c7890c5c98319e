"""Maps and spectra of events, added up tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.events import SparseSI
from esteemcore.io.stored_events import StoredEvents


def tiles(data: SparseSI | StoredEvents) -> Iterator[tuple[tuple[slice, ...], SparseSI]]:
    """Yield the events of parts of the pixels, with the slices where these are."""
    if isinstance(data, SparseSI):
        yield tuple(slice(0, size) for size in data.shape[:-1]), data
    else:
        yield from data.tiles()


def maps(data: SparseSI | StoredEvents) -> NDArray[np.float64]:
    """Return the counts of all pixels, shape ((frame,) y, x)."""
    image = np.zeros(data.shape[:-1])
    for region, tile in tiles(data):
        pixel = np.repeat(np.arange(len(tile.offset) - 1), np.diff(tile.offset))
        counts = np.bincount(pixel, tile.count, math.prod(tile.shape[:-1]))
        image[region] = counts.reshape(tile.shape[:-1])
    return image


def spectra(data: SparseSI | StoredEvents) -> NDArray[np.float64]:
    """Return the counts of all channels, shape (energy,)."""
    spectrum: NDArray[Any] = np.zeros(data.shape[-1])
    for _, tile in tiles(data):
        spectrum += np.bincount(tile.channel, tile.count, data.shape[-1])
    return spectrum
