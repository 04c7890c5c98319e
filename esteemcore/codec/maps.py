"""Maps of classes in square bins of pixels, as both event codecs store them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError

MOST = 64
"""Most classes in a map."""


def encode_map(cells: NDArray[np.uint8]) -> bytes:
    """Return the code of a map (rows, columns) of classes below 64."""
    from esteemcore.codec import _map_kernels

    out = np.empty(16 * cells.size + 1024, np.uint8)
    return out[: _map_kernels.put_map(cells, out)].tobytes()


def decode_map(data: NDArray[np.uint8], classes: int, bins: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class of each pixel of an image of the given shape.

    Raises
    ------
    FormatError
        If the map is damaged.
    """
    from esteemcore.codec import _map_kernels

    cells = np.zeros((-(-shape[0] // bins), -(-shape[1] // bins)), np.uint8)
    if classes > 1 and not _map_kernels.get_map(data, classes, cells):
        raise FormatError("the map of the block is damaged")
    return spread(cells, bins, shape)


def spread(cells: NDArray[np.uint8], bins: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class of each pixel from the classes of the bins."""
    rows = np.repeat(cells, bins, axis=0)[: shape[0]]
    return np.ascontiguousarray(np.repeat(rows, bins, axis=1)[:, : shape[1]])
