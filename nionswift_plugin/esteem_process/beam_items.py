"""Radius and place of the direct beam: as the data know them, as they are typed, or measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.swift.model import DataItem
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.cli.beam import measured_radius, place_of
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import disk_items, linked_items
from nionswift_plugin.esteem_process.spectra_items import Step
from nionswift_plugin.esteem_process.to_dataset import make_dataset

CENTER = "Direct beam behind a stop (row and column in px, or: find)"
"""Label of its place."""


def parameters_for(parameters: linked_items.Parameters, item: DataItem.DataItem) -> dict[str, tuple[str, Any, str]]:
    """Return parameters with the radius of a disk, and the ellipse if there is one, that 4D-STEM data know.

    Half axes follow from semi-angle and pixel size. The label of the radius tells the size of a pixel.
    """
    usual: dict[str, Any] = {}
    axes = half_axes(item)
    if axes is not None:
        usual["radius"] = math.sqrt(axes[0] * axes[1])
        if not math.isclose(*axes, rel_tol=1e-6):
            usual["ellipse"] = f"{max(axes) / min(axes):.6g} {90 if axes[0] > axes[1] else 0}"
    labels = {"radius": f"Radius of a disk (px{_pixel_words(item)}; 0: that of the beam)"}
    return {
        name: (of, usual.get(name, value), labels.get(name, label)) for name, (of, value, label) in parameters.items()
    }


def half_axes(item: DataItem.DataItem) -> tuple[float, float] | None:
    """Return the half axes (row, column) of a disk in px by semi-angle and pixel size; None if they are not known."""
    try:
        geometry = make_dataset([item]).geometry
        semiangle = float(geometry["semiangle_mrad"])
        row, column = (semiangle / float(pixel) for pixel in np.broadcast_to(geometry["pixel_mrad"], 2))
    except (EsteemError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (row, column) if min(row, column) > 0 else None


def _pixel_words(item: DataItem.DataItem) -> str:
    row, column = item.dimensional_calibrations[-2:]
    if not column.units:
        return ""
    if row.units != column.units or math.isclose(row.scale, column.scale):
        return f" of {column.scale:.3g} {column.units}"
    return f" of {row.scale:.3g} x {column.scale:.3g} {column.units}"


def in_units(radius: float, axes: tuple[io.Axis, ...]) -> str:
    """Return a radius in words, in px and in the unit of the detector."""
    row, column = axes[-2:]
    unit = column.unit if row.unit == column.unit else ""
    return f"{radius:.3g} px" + (f" = {radius * math.sqrt(abs(row.scale * column.scale)):.3g} {unit}" if unit else "")


def typed_radius(given: Mapping[str, Any]) -> float | None:
    """Return the radius of a disk in px as it was typed; None for that of the direct beam.

    Raises
    ------
    ParameterError
        If it is negative, or has to be typed because the beam is hidden.
    """
    radius = float(given["radius"])
    if not radius >= 0:
        raise ParameterError(f"the radius of a disk is {radius:g} px; type it in px, or 0 for that of the direct beam")
    if not radius and typed_center(given) == disk_items.FIND:
        raise ParameterError("the radius of a beam behind a stop cannot be measured; type the radius of a disk in px")
    return radius or None


def typed_center(given: Mapping[str, Any]) -> tuple[float, float] | str | None:
    """Return the place (row, column) of the direct beam as it was typed; older projects have none.

    Raises
    ------
    ParameterError
        If it is none.
    """
    return place_of(given.get("center", ""))


def radius_of(
    data: Any, given: Mapping[str, Any], mask: NDArray[np.bool_] | None, step: Step
) -> tuple[float, tuple[str, ...]]:
    """Return the radius of a disk in px, as it was typed, else that of the direct beam, and what is doubtful in it.

    Raises
    ------
    ParameterError
        If it cannot be what was typed, or what was measured.
    """
    radius = typed_radius(given)
    if radius is not None:
        return radius, ()
    return measured_radius(data, "type the radius of a disk in px", mask=mask, progress=step)
