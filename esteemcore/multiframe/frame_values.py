"""What was scanned, as it is stored: on the grid of the region, sub-pixels added up, with its order of visits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore._core.errors import StreamError
from esteemcore.events import SparseSI
from esteemcore.multiframe.counted import upright_events
from esteemcore.multiframe.orders import FrameOrder
from esteemcore.multiframe.plan import SeriesPlan

VISIT_ORDER = "visit_order"
"""Signal that holds, where it differs from frame to frame, as the how manyth each place was visited."""


@dataclasses.dataclass(frozen=True, eq=False)
class UnsavedFrame:
    """A frame that was acquired and that the disk did not take.

    Attributes
    ----------
    values : dict of str to ndarray or SparseSI
        As they are stored.
    time_s, energy_offset_ev, displacement_px : float or pair of float, or None
        What is stored with them, see `esteemcore.io.SeriesWriter.append`.
    """

    values: Mapping[str, Any]
    time_s: float | None = None
    energy_offset_ev: float | None = None
    displacement_px: tuple[float, float] | None = None

    def append_to(self, writer: io.SeriesWriter) -> None:
        """Store it."""
        writer.append(
            self.values,
            time_s=self.time_s,
            energy_offset_ev=self.energy_offset_ev,
            displacement_px=self.displacement_px,
        )


def is_order_stored(plan: SeriesPlan) -> bool:
    """Return whether the order of the visits is stored with each frame: where it differs from frame to frame."""
    return plan.settings.order in ("turned raster", "shuffled") or (
        plan.settings.order == "serpentine" and plan.settings.subpixels > 1
    )


def with_order(values: Mapping[str, Any], plan: SeriesPlan, order: FrameOrder) -> dict[str, Any]:
    """Add the order of the visits, where it is stored."""
    if not is_order_stored(plan):
        return dict(values)
    visits = order.visits
    rank = np.empty(len(visits), np.uint32)
    rank[visits.order] = np.arange(len(visits), dtype=np.uint32)
    return {**values, VISIT_ORDER: rank.reshape(visits.shape)}


def upright(taken: Mapping[str, Any], plan: SeriesPlan, order: FrameOrder) -> dict[str, Any]:
    """Put what was scanned onto the grid of the region, sub-pixels added up."""
    if set(taken) != set(plan.signals):
        lacking = ", ".join(sorted(set(plan.signals) - set(taken))) or "nothing"
        raise StreamError(f"the frame has {', '.join(sorted(taken)) or 'no signal'}; {lacking} did not come")
    n, values = plan.settings.subpixels, dict[str, Any]()
    for name, value in taken.items():
        array = value if isinstance(value, SparseSI) else np.asarray(value)
        if array.shape[:2] != order.shape:
            raise StreamError(
                f"the frame of {name} has {' x '.join(map(str, array.shape[:2]))} places, but "
                f"{' x '.join(map(str, order.shape))} were scanned; it is not stored"
            )
        dtype = plan.signals[name].dtype
        if isinstance(array, SparseSI):
            is_straight = n == 1 and not order.quarter_turns
            values[name] = array if is_straight else upright_events(array, order, n, dtype)
        else:
            values[name] = sum_subpixels(order.upright(array), n, dtype)
    return values


def sum_subpixels(image: NDArray[Any], n: int, dtype: Any) -> NDArray[Any]:
    """Return the sums over n x n places.

    Parameters
    ----------
    image : ndarray, shape (y * n, x * n, ...)
    n : int
    dtype : dtype
        Of the sums.
    """
    if n == 1:
        return image.astype(dtype, copy=False)
    rows, columns = image.shape[0] // n, image.shape[1] // n
    parts = image.reshape(rows, n, columns, n, *image.shape[2:])
    return np.asarray(parts.sum(axis=(1, 3), dtype=dtype))
