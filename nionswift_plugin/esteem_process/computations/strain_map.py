"""A computation that maps the strain of a crystal, and how sure it is, from the Bragg disks of its scan."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Graphics, Symbolic

from esteemcore import diffraction, io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import color_maps, disk_items, frame_items, linked_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_process.spectra_items import steps
from nionswift_plugin.esteem_scan import binding

ID = "esteem.strain"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "least_disks": ("integral", 4, "Least disks per position (4 or more)"),
}
"""Type, value and label."""

COMPONENTS = {"exx": "Strain xx", "eyy": "Strain yy", "exy": "Strain xy", "rotation": "Rotation"}
SIGMA = {f"{name}_sigma": f"Sigma of {title}" for name, title in COMPONENTS.items()}
TITLES = COMPONENTS | SIGMA | {"used": "Disks on the Lattice"}

UNITS = dict.fromkeys(COMPONENTS, ("%", 100.0)) | {"rotation": ("deg", float(np.degrees(1.0)))}
"""Unit of what is shown, and how much of it is one unit of the values."""


class StrainMap:
    """Fit the lattices in a thread, then show the maps.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Strain Map"
    inputs: ClassVar = {
        "table": {"label": "Disk Table"},
        "number": {"label": "Disks"},
        "reference": {"label": "Reference"},
    } | {name: {"label": p[2]} for name, p in PARAMETERS.items()}
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[diffraction.Strain, tuple[io.Axis, ...]] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop goes through the context. There is nothing to do before the disks are found."""
        given = linked_items.given_of(self._computation, context)
        if given["table"].xdata is None:
            return
        step = steps(context)
        table = disk_items.from_xdata(given["table"].xdata)
        known = given["table"].xdata.metadata[binding.KEY]["disks"]
        number = given["number"].xdata
        if number is None or number.datum_dimension_count != 2:
            raise ParameterError("the map of the numbers of disks is missing; take the one that Bragg Disks... makes")
        step(0.1)
        shape = number.data_shape
        reference = None if given.get("reference") is None else np.asarray(given["reference"].get_mask(shape)) > 0
        found = diffraction.strain(
            table,
            shape,
            reference,
            distortion=disk_items.distortion_of(known["ellipse"]),
            center=disk_items.beam_of(given["table"].xdata, shape),
            least_disks=given["least_disks"],
        )
        step(1.0)
        self._made = found, frame_items.axes_of(number)

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (found, axes), self._made = self._made, None
        entry = {
            "strain": {
                "lattice_px": found.lattice.tolist(),
                "notes": list(found.notes),
                "provenance": found.provenance.as_dict(),
            }
        }
        text = "\n".join(["x along detector columns, y along rows.", *(f"Note: {note}" for note in found.notes)])
        for k, name in enumerate(COMPONENTS):
            unit, scale = UNITS[name]
            values, sigma = getattr(found, name), found.component_sigma[..., k]
            usual = f"σ {scale * np.nanmedian(sigma):.2g} {unit}"
            for output, data in ((name, values), (f"{name}_sigma", sigma)):
                shown = linked_items.xdata_of(data, axes, entry, unit, scale)
                linked_items.show(self._computation, output, shown, usual)
                frame_items.describe(self._computation, output, text)
            for channel in self._computation.get_result(name)._data_item.display_data_channels:
                color_maps.center(channel, values)
        used = linked_items.xdata_of(found.disks, axes, entry, "disks")
        known = f"{int(np.isfinite(found.exx).sum())} of {found.exx.size} positions have a strain"
        linked_items.show(self._computation, "used", used, known)


def make(
    document_model: Any,
    table: DataItem.DataItem,
    number: DataItem.DataItem,
    title: str,
    *,
    reference: Graphics.Graphic | None = None,
    **chosen: Any,
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on the disks of a scan, and what it will fill.

    Parameters
    ----------
    document_model
        Nion's.
    table, number : DataItem
        What `bragg_disks` made: the table of disks, and the map of their numbers.
    title : str
        Of the frames.
    reference : Graphic, optional
        What encloses the positions whose mean strain is zero, on a map of the scan. Default: all of it.
    **chosen
        Values of parameters that differ from the usual ones.
    """
    return linked_items.make(
        document_model,
        ID,
        StrainMap.label,
        {"table": (table, "Disk Table"), "number": (number, "Disks"), "reference": (reference, "Reference")},
        {name: (kind, chosen.get(name, value), label) for name, (kind, value, label) in PARAMETERS.items()},
        {name: f"{words} of {title}" for name, words in TITLES.items()},
    )


COMPUTATION = Computation(ID, StrainMap)
