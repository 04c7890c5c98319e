"""One-bit frames of foreign files as our packed bits, made when they are sliced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.events import pack_bits


class PackedView:
    """Dense one-bit frames (..., ky, kx), lazy or not, seen as packed ones (..., ky, kx/8).

    Parameters
    ----------
    dense : array-like
        Frames with one byte per pixel.
    """

    def __init__(self, dense: Any) -> None:
        self._dense = dense
        self.shape = (*dense.shape[:-1], -(-dense.shape[-1] // 8))
        self.dtype = np.dtype(np.uint8)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read and pack everything."""
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> Any:
        """Read and pack a part."""
        outer, inner = split_key(key, self.ndim - 2)
        return pack_bits(np.asarray(self._dense[outer]))[(..., *inner)]


def split_key(key: Any, n: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Split an index in the part for the first ``n`` axes and the part, two axes, for a frame."""
    items = key if isinstance(key, tuple) else (key,)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if dots:
        missing = n + 2 - (len(items) - 1)
        items = items[: dots[0]] + (slice(None),) * missing + items[dots[0] + 1 :]
    items += (slice(None),) * (n + 2 - len(items))
    return items[:n], items[n:]
