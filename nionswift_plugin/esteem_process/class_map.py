"""Classes of a scan as Nion Swift shows them: a coloured map with the names of the classes in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from numpy.typing import NDArray

from esteemcore import diffraction, io
from esteemcore.cli.classify_page import palette
from esteemcore.cli.pictures import UNKNOWN
from nionswift_plugin.esteem_process import descriptors
from nionswift_plugin.esteem_scan import binding

PREFIX = "esteem.class "
"""Graphics whose identifiers begin so are names of classes, which this module may take away."""


def colored(
    found: diffraction.Classes, axes: tuple[io.Axis, ...], entry: Mapping[str, Any]
) -> DataAndMetadata.DataAndMetadata:
    """Return the map of classes in their colours; a position without a class is dark blue."""
    colors = np.concatenate([palette(found.kinds), np.array([UNKNOWN], np.uint8)])
    return DataAndMetadata.new_data_and_metadata(
        np.ascontiguousarray(colors[found.labels][..., ::-1]),  # Nion's order is blue, green, red
        dimensional_calibrations=[descriptors.calibration_of(axis) for axis in axes[:2]],
        metadata={binding.KEY: dict(entry)},
        data_descriptor=DataAndMetadata.DataDescriptor(False, 0, 2),
    )


def names(found: diffraction.Classes) -> list[str]:
    """Return what each class is called: its number, what it is, its share of the scan."""
    share = found.areas / found.labels.size
    return [f"{c} {kind} {part:.0%}" for c, (kind, part) in enumerate(zip(found.kinds, share, strict=True))]


def write_names(item: Any, found: diffraction.Classes) -> None:
    """Write the names into a map, by Nion's facade of it, in the place of those of before."""
    for graphic in list(item.graphics):
        if (graphic.graphic_id or "").startswith(PREFIX):
            item.remove_region(graphic)
    places: NDArray[np.float64] = (found.places + 0.5) / found.labels.shape
    for c, (name, place) in enumerate(zip(names(found), places, strict=True)):
        if np.isfinite(place).all():
            graphic = item.add_point_region(*map(float, place))
            graphic.label = name
            graphic.graphic_id = f"{PREFIX}{c}"
            graphic.set_property("is_position_locked", True)
            graphic.set_property("stroke_color", "#FFF")
