"""One-bit frames as packed bytes: little-endian bit order along a row, each row on whole bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


def pack_bits(frames: ArrayLike) -> NDArray[np.uint8]:
    """Pack one-bit frames, eight pixels of a row to a byte.

    Parameters
    ----------
    frames : array_like, shape (..., ky, kx)
        Frames of booleans or integers; every value above zero is an electron.

    Returns
    -------
    ndarray of uint8, shape (..., ky, ceil(kx / 8))
        Bit ``b`` of byte ``j`` is pixel ``8 j + b``; the bits after the last pixel of a row are zero.

    Examples
    --------
    >>> pack_bits([[[1, 0, 0, 0, 0, 0, 0, 0, 0, 1]]])
    array([[[1, 2]]], dtype=uint8)
    """
    array = np.asarray(frames)
    if array.ndim < 2 or array.dtype.kind not in "biu":
        raise ParameterError(
            f"frames have shape {array.shape} and dtype {array.dtype}; expected integers or booleans (..., ky, kx)"
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ParameterError(f"frames hold negative values (lowest {array.min()}); expected counts, zero or more")
    return np.packbits(array != 0, axis=-1, bitorder="little")


def unpack_bits(packed: ArrayLike, kx: int) -> NDArray[np.uint8]:
    """Unpack frames that `pack_bits` packed.

    Parameters
    ----------
    packed : array_like of uint8, shape (..., ky, ceil(kx / 8))
        Packed frames.
    kx : int
        Number of pixels in a row.

    Returns
    -------
    ndarray of uint8, shape (..., ky, kx)
        Zeros and ones.
    """
    array = np.asarray(packed)
    check_packed("packed", array, kx)
    return np.unpackbits(array, axis=-1, count=int(kx), bitorder="little")


def check_packed(name: str, packed: NDArray[np.uint8], kx: int) -> None:
    """Raise `ParameterError` unless an array can hold packed rows of ``kx`` pixels."""
    kx = checks.integer("kx", kx, minimum=1)
    if packed.dtype != np.uint8 or packed.ndim < 2:
        raise ParameterError(
            f"{name} frames have dtype {packed.dtype} and shape {packed.shape}; expected uint8 (..., ky, kx/8)"
        )
    row_bytes = -(-kx // 8)
    if packed.shape[-1] != row_bytes:
        raise ParameterError(
            f"kx is {kx}, which packs into rows of {row_bytes} bytes, but {name} frames have rows of "
            f"{packed.shape[-1]} bytes ({8 * packed.shape[-1]} pixels); give the detector's width in pixels"
        )
