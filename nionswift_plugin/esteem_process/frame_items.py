"""The detector frames of a data item that a computation works on, as the core takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import DataItem, Symbolic
from numpy.typing import NDArray

from esteemcore import diffraction, io
from esteemcore.cli.spectrum_image import takes_part
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_process.spectra_items import Step
from nionswift_plugin.esteem_process.to_dataset import make_dataset

SELECT = (
    "Select one 4D-STEM data item, a map with a diffraction pattern in each pixel, and at most one image of the "
    "detector, zero where a pixel is bad"
)
"""What to select."""

WEAK = [{"type": "gamma", "gamma": 0.4}]
"""How patterns are shown: the direct beam hides all others without it."""


def is_4d(xdata: DataAndMetadata.DataAndMetadata | None) -> bool:
    """Return whether data are (y, x, ky, kx)."""
    if xdata is None or xdata.is_sequence or xdata.is_data_rgb_type:
        return False
    return xdata.collection_dimension_count == 2 and xdata.datum_dimension_count == 2


def shows_scan_of(xdata: DataAndMetadata.DataAndMetadata, frames: DataAndMetadata.DataAndMetadata) -> bool:
    """Return whether data are shown as a map of the scan of (y, x, ky, kx), not as a pattern on its detector."""
    if xdata.datum_dimension_shape != frames.collection_dimension_shape:
        return False
    axes = [xdata.datum_dimensional_calibrations, frames.dimensional_calibrations[:2]]
    units, scan = ([axis.units for axis in each] for each in axes)
    return units == scan


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
        If the image has another shape.
    """
    image = given.get("mask")
    if image is None:
        return None
    if image.xdata is None or image.xdata.data_shape != shape:
        found = "no data" if image.xdata is None else f"shape {image.xdata.data_shape}"
        raise ParameterError(f"the mask has {found}; expected an image of the detector, {shape}, zero where it is bad")
    return takes_part(np.asarray(image.xdata.data))


def typed_radius(given: Mapping[str, Any]) -> float | None:
    """Return the radius of a disk in px as it was typed; None for that of the direct beam.

    Raises
    ------
    ParameterError
        If it is negative.
    """
    radius = float(given["radius"])
    if not radius >= 0:
        raise ParameterError(f"the radius of a disk is {radius:g} px; type it in px, or 0 for that of the direct beam")
    return radius or None


def radius_of(
    data: Any, given: Mapping[str, Any], mask: NDArray[np.bool_] | None, step: Step
) -> tuple[float, tuple[str, ...]]:
    """Return the radius of a disk in px, as it was typed, else that of the direct beam, and what is doubtful in it.

    Raises
    ------
    ParameterError
        If the radius is negative.
    """
    radius = typed_radius(given)
    if radius is not None:
        return radius, ()
    beam = diffraction.find_descan(data, mask=mask, everywhere=False, progress=step)
    return beam.radius_px, beam.notes


def usual_radius(item: DataItem.DataItem) -> float:
    """Return the radius of a disk in px from what a data item knows of the microscope; 0 if that is not enough."""
    try:
        geometry = make_dataset([item]).geometry
        return float(geometry["semiangle_mrad"]) / float(np.mean(geometry["pixel_mrad"]))
    except (EsteemError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def radius_words(item: DataItem.DataItem) -> str:
    """Return the label of the radius, with the size of a pixel where it is known."""
    axis = item.dimensional_calibrations[-1]
    size = f" of {axis.scale:.3g} {axis.units}" if axis.units else ""
    return f"Radius of a disk (px{size}; 0: that of the beam)"


def in_units(radius: float, axes: tuple[io.Axis, ...]) -> str:
    """Return a radius in words, in px and in the unit of the detector."""
    unit = axes[-1].unit
    return f"{radius:.3g} px" + (f" = {radius * axes[-1].scale:.3g} {unit}" if unit else "")


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


def selected(window: Any) -> tuple[DataItem.DataItem, DataItem.DataItem | None] | None:
    """Return the selected 4D-STEM data item and an image of its detector if any; None if anything else is selected."""
    items = [item for item in window.selected_data_items if item.xdata is not None]
    frames = [item for item in items if is_4d(item.xdata)]
    masks = [item for item in items if frames and item.xdata.data_shape == frames[0].xdata.data_shape[2:]]
    if len(frames) != 1 or len(masks) > 1 or len(masks) + 1 < len(items):
        return None
    return frames[0], masks[0] if masks else None


def describe(computation: Any, name: str, text: str) -> None:
    """Put a description under a data item, which Nion Swift shows with its title, by the facade of a computation."""
    computation.get_result(name)._data_item.caption = text


def channels(item: DataItem.DataItem, model: Any) -> Any:
    """Return what tells how a data item is shown."""
    return model.get_display_item_for_data_item(item).display_data_channels


def make(
    document_model: Any,
    kind: type[Any],
    processing_id: str,
    parameters: linked_items.Parameters,
    titles: Mapping[str, str],
    item: DataItem.DataItem,
    chosen: Mapping[str, Any],
    mask: DataItem.DataItem | None,
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on 4D-STEM data, and what it will fill.

    Parameters
    ----------
    document_model
        Nion's.
    kind : type
        The computation; it has a ``label``.
    processing_id : str
    parameters : mapping
        Type, value and label of each; the radius is that of the data item's geometry where it has one.
    titles : mapping of str to str
        Of the new data items, by the names of the outputs.
    item : DataItem
        The frames.
    chosen : mapping
        Values of parameters that differ from the usual ones.
    mask : DataItem, optional
        Image of the detector, zero where a pixel is bad.
    """
    usual = {"radius": usual_radius(item), **chosen}
    labels = {"radius": radius_words(item)}
    return linked_items.make(
        document_model,
        processing_id,
        kind.label,
        {"src": (item, "Frames"), "mask": (mask, "Good Pixels")},
        {
            name: (of, usual.get(name, value), labels.get(name, label))
            for name, (of, value, label) in parameters.items()
        },
        {name: f"{title} of {item.title}" for name, title in titles.items()},
    )
