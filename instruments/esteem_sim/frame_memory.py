"""Memory for all frames of a run, of which only the newest stay when there are many."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

KEEP_BYTES = 256 * 2**20
"""Memory of frames that were handed on is given back beyond this."""

_CAN_FORGET = hasattr(mmap, "MADV_DONTNEED") and hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS")


class FrameMemory:
    """One array for a whole run.

    Nion wants an array of all frames but reads each of them once. A large array is mapped memory, of which `forget`
    gives old parts back to the system; they read as zeros from then on.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array, frames first.
    dtype : dtype_like
    keep_all : bool
        Never forget, because somebody reads the whole array at the end.
    keep_bytes : int
        How much of what was handed on stays.
    """

    def __init__(
        self, shape: Sequence[int], dtype: DTypeLike, *, keep_all: bool = False, keep_bytes: int = KEEP_BYTES
    ) -> None:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._keep_bytes = keep_bytes
        self._forgotten = 0
        self._map: mmap.mmap | None = None
        if _CAN_FORGET and not keep_all and size > keep_bytes:
            self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.array: NDArray[Any] = np.frombuffer(self._map, dtype).reshape(shape)
        else:
            self.array = np.zeros(shape, dtype)

    def forget(self, handed_on: int) -> None:
        """Give memory back, where a number of bytes at the start of the array were handed on."""
        if self._map is None:
            return
        stop = (handed_on - self._keep_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if stop - self._forgotten >= 16 * 2**20:
            self._map.madvise(mmap.MADV_DONTNEED, self._forgotten, stop - self._forgotten)
            self._forgotten = stop
