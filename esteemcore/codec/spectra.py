"""What the codecs of spectrum images share: which arrays they take, and how these are cut into groups of pixels."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import frame

GROUP = 1 << 23
"""Voxels that are coded together, at most, unless one spectrum has more; bounds the memory."""
MAX_VALUES = 1 << 29
"""Most voxels that a block may hold unless the caller says otherwise (2 GB of float32)."""
MOST_CHANNELS = 1 << 20
"""Channels of a spectrum, at most, that the codecs of spectra and of events take: their tables have rows for each."""


def checked(data: ArrayLike) -> NDArray[Any]:
    """Return spectra (..., energy) of real numbers of up to 64 bits."""
    array = checks.array("si", data)
    if array.ndim < 1 or array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise ParameterError(
            f"the spectrum image has shape {array.shape} and dtype {array.dtype}; expected integers or floats of up to "
            "64 bits, (y, x, energy) or (frame, y, x, energy)"
        )
    few_channels(array.shape)
    return array


def few_channels(shape: tuple[int, ...]) -> None:
    """Refuse spectra with more channels than the codecs take, where the last axis often is none of energy.

    Raises
    ------
    ParameterError
        If there are more than `MOST_CHANNELS`.
    """
    if shape[-1] > MOST_CHANNELS:
        raise ParameterError(
            f"the spectrum image has shape {shape}, so {shape[-1]:,} channels; up to {MOST_CHANNELS:,} can be encoded: "
            "put energy last, bin the channels, or use encode_lossless, which takes any shape"
        )


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of pixels and of channels."""
    return math.prod(shape[:-1]), shape[-1]


def as_rows(array: NDArray[Any]) -> NDArray[Any]:
    """Return spectra as a contiguous matrix (pixels, channels) of native byte order."""
    rows = array.reshape(matrix_shape(array.shape))
    return np.ascontiguousarray(rows, array.dtype.newbyteorder("="))


def stored(config: dict[str, Any], max_values: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of the spectra in a block."""
    shape = frame.whole_numbers(config, "shape", maximum=2**40)
    name = config.get("dtype")
    try:
        dtype = np.dtype(name if isinstance(name, str) and len(name) == 3 else "O")
    except (TypeError, ValueError):
        dtype = np.dtype("O")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise FormatError(f"the head of the block has dtype {name!r}; expected a kind of number")
    if not 1 <= len(shape) <= 32:
        raise FormatError(f"the head of the block has shape {list(shape)}; expected (..., energy)")
    if max(shape, default=0) > max_values or math.prod(shape) > max_values:
        raise FormatError(
            f"the block says that it holds a spectrum image {shape}; up to {max_values} voxels are accepted "
            "(max_values)"
        )
    return shape, dtype


def groups(shape: tuple[int, int], most: int = GROUP) -> list[slice]:
    """Return groups of pixels of about equal size that are coded together; none where there is nothing to code."""
    rows, channels = shape
    if not rows * channels:
        return []
    n = min(rows, -(-rows * channels // most))
    edges = [rows * i // n for i in range(n + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def joined(done: list[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return groups of pixels as the array that was encoded."""
    whole = np.concatenate(done) if done else np.empty(shape, dtype)
    return whole.reshape(shape).astype(dtype, copy=False)
