"""In which order the pixels of each frame of a series are visited."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore import scan
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

ORDERS = ("raster", "turned raster", "serpentine", "shuffled")
"""Names of `frame_order`. A turned raster turns by 90° from frame to frame."""


@dataclasses.dataclass(frozen=True)
class FrameOrder:
    """How one frame is scanned, for any scan device that can turn its raster.

    Attributes
    ----------
    pattern : {"raster", "serpentine", "shuffled"}
        In the turned frame.
    seed : int
        Of a shuffled order; differs from frame to frame.
    quarter_turns : int
        The scan is turned by as many times 90° against the region, 0 to 3.
    shape : (int, int)
        Rows and columns of the turned scan.
    """

    pattern: str
    seed: int
    quarter_turns: int
    shape: tuple[int, int]

    @property
    def rotation_deg(self) -> float:
        """What is added to the rotation of the region, in its sign."""
        return 90.0 * self.quarter_turns

    @property
    def visits(self) -> scan.ScanPattern:
        """The visits on the grid of the region."""
        made = {"raster": scan.raster, "serpentine": scan.serpentine}.get(self.pattern)
        turned = made(self.shape) if made is not None else scan.shuffled(self.shape, seed=self.seed)
        if not self.quarter_turns:
            return turned
        places = self.upright(np.arange(self.shape[0] * self.shape[1]).reshape(self.shape))
        order = np.empty(places.size, np.int64)
        order[places.reshape(-1)] = np.arange(places.size)
        name = f"{self.pattern} turned by {90 * self.quarter_turns} degrees"
        return scan.ScanPattern(places.shape, order[turned.order], name, turned.seed, turned.line_starts)

    def upright(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return what was measured in the turned frame (y, x, ...) on the grid of the region."""
        return np.ascontiguousarray(np.rot90(image, self.quarter_turns, axes=(0, 1)))


def frame_order(shape: tuple[int, int], order: str, frame: int, seed: int = 0) -> FrameOrder:
    """Return how a frame of a series is scanned.

    Scan distortions along and across the lines are independent in frames that were scanned in other directions, so
    that registration can tell them from the specimen.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the region.
    order : str
        One of `ORDERS`.
    frame : int
        Number of the frame in its region, from 0.
    seed : int
        Of shuffled orders.

    Examples
    --------
    >>> frame_order((2, 3), "turned raster", 1).visits.order.tolist()
    [3, 0, 4, 1, 5, 2]
    """
    rows, columns = checks.shape_2d("shape", shape)
    if order not in ORDERS:
        raise ParameterError(f"order is {order!r}; expected one of {', '.join(ORDERS)}")
    frame = checks.integer("frame", frame, minimum=0)
    turns = frame % 4 if order == "turned raster" else 0
    pattern = "raster" if order == "turned raster" else order
    return FrameOrder(pattern, seed + frame, turns, (columns, rows) if turns % 2 else (rows, columns))
