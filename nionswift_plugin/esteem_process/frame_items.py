"""The detector frames of a data item that a computation works on, as the core takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import DataItem
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.cli.spectrum_image import takes_part
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_process.to_dataset import make_dataset

SELECT = (
    "Select one 4D-STEM data item, a map with a diffraction pattern in each pixel, and at most one image of the "
    "detector, zero where a pixel is bad"
)
"""What to select."""

OF_SCAN = "is an image of the scan; select at most one of the detector, zero where a pixel is bad"
"""What is wrong with it."""

WEAK = [{"type": "gamma", "gamma": 0.4}]
"""How patterns are shown: the direct beam hides all others without it."""


def is_4d(xdata: DataAndMetadata.DataAndMetadata | None) -> bool:
    """Return whether data are (y, x, ky, kx)."""
    if xdata is None or xdata.is_sequence or xdata.is_data_rgb_type:
        return False
    return xdata.collection_dimension_count == 2 and xdata.datum_dimension_count == 2


def shows_scan_of(xdata: DataAndMetadata.DataAndMetadata, frames: DataAndMetadata.DataAndMetadata) -> bool:
    """Return whether data are shown as a map of the scan of (y, x, ky, kx), not as a pattern on its detector."""
    return _has_axes(xdata, frames, slice(0, 2))


def is_map_only(image: DataAndMetadata.DataAndMetadata, frames: DataAndMetadata.DataAndMetadata) -> bool:
    """Return whether an image is a map of the scan of (y, x, ky, kx) by its units, and no image of its detector."""
    return shows_scan_of(image, frames) and not _has_axes(image, frames, slice(2, 4))


def _has_axes(xdata: DataAndMetadata.DataAndMetadata, frames: DataAndMetadata.DataAndMetadata, which: slice) -> bool:
    if xdata.datum_dimension_shape != frames.data_shape[which]:
        return False
    axes = [xdata.datum_dimensional_calibrations, frames.dimensional_calibrations[which]]
    units, own = ([axis.units for axis in each] for each in axes)
    return units == own


def frames_of(xdata: DataAndMetadata.DataAndMetadata | None) -> tuple[Any, tuple[io.Axis, ...]]:
    """Return frames (y, x, ky, kx) as an array, or as one that is read piece by piece, and its axes.

    Raises
    ------
    ParameterError
        If the data are none.
    """
    if not is_4d(xdata):
        raise ParameterError("this needs 4D-STEM data, a map with a diffraction pattern in each pixel")
    signal = next(iter(make_dataset([linked_items.Source("frames", xdata)]).signals.values()))  # type: ignore[arg-type,list-item]
    return signal.data, signal.axes


def axes_of(xdata: DataAndMetadata.DataAndMetadata) -> tuple[io.Axis, ...]:
    """Return the axes of a map."""
    axes = zip(("y", "x"), xdata.data_shape, xdata.dimensional_calibrations, strict=True)
    return tuple(io.Axis(name, size, axis.scale, axis.offset, axis.units or "") for name, size, axis in axes)


def good_pixels(given: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return where the image ``mask`` of the detector is not zero or NaN; None where it is not given.

    Raises
    ------
    ParameterError
        If the image has another shape, or is a map of the scan.
    """
    image = given.get("mask")
    if image is None:
        return None
    if image.xdata is None or image.xdata.data_shape != shape:
        found = "no data" if image.xdata is None else f"shape {image.xdata.data_shape}"
        raise ParameterError(f"the mask has {found}; expected an image of the detector, {shape}, zero where it is bad")
    if is_map_only(image.xdata, given["src"].xdata):
        raise ParameterError(f"the mask {OF_SCAN}")
    return takes_part(np.asarray(image.xdata.data))


def centered(axes: tuple[io.Axis, ...], beam: tuple[float, float]) -> list[io.Axis]:
    """Return the axes of the detector counted from the direct beam (row, column) in px."""
    return [
        io.Axis(axis.name, axis.size, axis.scale, -place * axis.scale, axis.unit or "px")
        for axis, place in zip(axes[-2:], beam, strict=True)
    ]


def finer(axes: tuple[io.Axis, ...], times: int) -> list[io.Axis]:
    """Return the axes of a map with some pixels per pixel of the detector, the direct beam in pixel n // 2 of these."""
    return [
        io.Axis(a.name, a.size * times, a.scale / times, (0.5 / times - 0.5 - a.size // 2) * a.scale, a.unit or "px")
        for a in axes[-2:]
    ]


def computation_of(model: Any, item: DataItem.DataItem, processing_id: str) -> Any:
    """Return the computation of a kind that fills a data item, else the last one that works on it; None without any."""
    found = [computation for computation in model.computations if computation.processing_id == processing_id]
    makes = [computation for computation in found if item in computation.output_items]
    takes = [computation for computation in found if item in computation.direct_input_items]
    return (makes or takes or [None])[-1]


def selected(window: Any) -> tuple[DataItem.DataItem, DataItem.DataItem | None]:
    """Return the selected 4D-STEM data item and an image of its detector if any.

    Raises
    ------
    ParameterError
        If anything else is selected.
    """
    items = [item for item in window.selected_data_items if item.xdata is not None]
    frames = [item for item in items if is_4d(item.xdata)]
    masks = [item for item in items if frames and item.xdata.data_shape == frames[0].xdata.data_shape[2:]]
    if len(frames) != 1 or len(masks) > 1 or len(masks) + 1 < len(items):
        raise ParameterError(SELECT)
    for image in masks:
        if is_map_only(image.xdata, frames[0].xdata):
            raise ParameterError(f"{image.title!r} {OF_SCAN}")
        if shows_scan_of(image.xdata, frames[0].xdata):
            raise ParameterError(
                f"whether {image.title!r} is an image of the scan or of the detector cannot be told: both have as many "
                "pixels and the same unit; give the axes of the frames their units first"
            )
    return frames[0], masks[0] if masks else None


def describe(computation: Any, name: str, text: str) -> None:
    """Put a description under a data item, which Nion Swift shows with its title, by the facade of a computation."""
    computation.get_result(name)._data_item.caption = text


def channels(item: DataItem.DataItem, model: Any) -> Any:
    """Return what tells how a data item is shown."""
    return model.get_display_item_for_data_item(item).display_data_channels
