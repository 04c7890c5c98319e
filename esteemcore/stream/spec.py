"""What a stream of frames will bring."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """Shapes and dtype of the frames to come.

    Parameters
    ----------
    scan_shape : tuple of int
        ``(y, x)`` positions of the scan.
    frame_shape : tuple of int
        ``(ky, kx)`` detector pixels, also when the frames are packed.
    dtype : dtype_like
        Dtype of the frames as they come (uint8 for packed frames); kept in the byte order of this machine.
    packed : bool
        True for one-bit frames packed to ``(ky, ceil(kx / 8))`` bytes, see `esteemcore.events.pack_bits`.
    """

    scan_shape: tuple[int, int]
    frame_shape: tuple[int, int]
    dtype: np.dtype[Any]
    packed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scan_shape", checks.shape_2d("scan_shape", self.scan_shape))
        object.__setattr__(self, "frame_shape", checks.shape_2d("frame_shape", self.frame_shape))
        try:
            dtype = np.dtype(self.dtype if self.dtype is not None else "none given")
        except (TypeError, ValueError):
            raise ParameterError(f"dtype is {self.dtype!r}; expected a numpy dtype such as 'uint8'") from None
        if dtype.kind not in "biuf":
            raise ParameterError(f"dtype is {dtype}; expected booleans, integers or real numbers")
        if self.packed and dtype != np.uint8:
            raise ParameterError(f"packed one-bit frames come as uint8, but dtype is {dtype}")
        object.__setattr__(self, "dtype", dtype.newbyteorder("="))

    @property
    def positions(self) -> int:
        """Number of scan positions."""
        return self.scan_shape[0] * self.scan_shape[1]

    @property
    def pixels(self) -> int:
        """Number of detector pixels."""
        return self.frame_shape[0] * self.frame_shape[1]

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Shape of one frame as it comes: ``(ky, kx)``, or ``(ky, ceil(kx / 8))`` when packed."""
        ky, kx = self.frame_shape
        return (ky, -(-kx // 8)) if self.packed else (ky, kx)

    @property
    def one_bit(self) -> bool:
        """True when a pixel can only say hit or not."""
        return self.packed or self.dtype == np.bool_
