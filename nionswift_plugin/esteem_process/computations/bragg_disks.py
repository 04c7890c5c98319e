"""A computation that finds the Bragg disks of a 4D-STEM scan: their map, how many there are where, and their table."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Symbolic

from esteemcore import diffraction, io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import beam_items, disk_items, frame_items, linked_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_process.spectra_items import steps

ID = "esteem.bragg_disks"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "radius": ("real", 0.0, "Radius of a disk (px; 0: that of the beam)"),
    "significance": ("real", 4.0, "Least Significance (σ)"),
    "overlapping": ("boolean", False, "Tell overlapping disks apart (takes several times as long)"),
    "ellipse": ("string", "", "Ellipse (ratio and angle in degrees, as in 1.03 45)"),
    "center": ("string", "", beam_items.CENTER),
}
"""Type, value and label."""

TITLES = {"map": "Bragg Vectors", "number": "Disks", "table": "Disk Table"}

OVERSAMPLING = 2
"""Pixels of the map per pixel of the detector."""


class BraggDisks:
    """Find the disks in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Bragg Disks"
    inputs: ClassVar = {"src": {"label": "Frames"}, "mask": {"label": "Good Pixels"}} | {
        name: {"label": p[2]}
        for name, p in PARAMETERS.items()
        if name != "radius"  # its own label is better
    }
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[diffraction.DiskTable, dict[str, Any], tuple[io.Axis, ...], Any] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = linked_items.given_of(self._computation, context)
        data, axes = frame_items.frames_of(given["src"].xdata)
        mask = frame_items.good_pixels(given, data.shape[2:])
        center, distortion = beam_items.typed_center(given), disk_items.distortion_of(given["ellipse"])
        radius, doubts = beam_items.radius_of(data, given, mask, steps(context, 0.0, 0.1))
        hidden: diffraction.Descan | None = None
        if center == disk_items.FIND:
            hidden = diffraction.find_descan(data, radius, mask=mask, center=center, progress=steps(context, 0.0, 0.1))
            doubts = (*doubts, *hidden.notes)
        table = diffraction.find_disks(
            data,
            radius,
            significance=given["significance"],
            center=center,
            mask=mask,
            distortion=distortion,
            overlapping=given["overlapping"],
            progress=steps(context, 0.1, 1.0),
        )
        notes = list(dict.fromkeys([*doubts, *table.notes]))
        if not len(table):
            raise ParameterError(". ".join(["no disks were found; check radius and significance", *notes]))
        found = {"radius_px": radius, "ellipse": given["ellipse"], "center": given["center"], "notes": notes}
        self._made = table, found, axes, None if hidden is None else hidden.center

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (table, found, axes, hidden), self._made = self._made, None
        scan, (ky, kx) = (axes[0].size, axes[1].size), (axes[2].size, axes[3].size)
        place = beam_items.typed_center(found) if hidden is None else hidden
        beam = table.brightest(scan[0] * scan[1])
        if place is not None:
            beam = np.broadcast_to(place, (*scan, 2)).reshape(-1, 2)
        vectors = diffraction.bragg_vector_map(table, (ky, kx), oversampling=OVERSAMPLING, origin=beam)
        made = {} if table.provenance is None else {"provenance": table.provenance.as_dict()}
        entry = {"disks": {**found, **made}}
        fine = frame_items.finer(axes, OVERSAMPLING)
        each = f"{len(table) / (scan[0] * scan[1]):.3g} per frame"
        size = beam_items.in_units(found["radius_px"], axes)
        shown = {
            "map": (linked_items.xdata_of(vectors, fine, entry, "disks"), f"disks of {size}"),
            "number": (linked_items.xdata_of(table.per_position(scan), axes[:2], entry, "disks"), each),
            "table": (disk_items.to_xdata(table, entry, hidden), f"{len(table):,} disks"),
        }
        text = "\n".join([f"{len(table):,} disks, {each}.", *(f"Note: {note}" for note in found["notes"])])
        for name, (xdata, words) in shown.items():
            linked_items.show(self._computation, name, xdata, words)
            frame_items.describe(self._computation, name, text)


def make(
    document_model: Any, item: DataItem.DataItem, *, mask: DataItem.DataItem | None = None, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on 4D-STEM data, and what it will fill.

    Pixels of the detector where the image ``mask`` is zero are left out.
    """
    parameters = beam_items.parameters_for(PARAMETERS, item)
    beside = {"mask": (mask, "Good Pixels")}
    computation, made = linked_items.make_of(
        document_model, BraggDisks, ID, parameters, TITLES, (item, "Frames"), chosen, beside
    )
    for channel in frame_items.channels(made["map"], document_model):
        channel.adjustments = frame_items.WEAK
    return computation, made


COMPUTATION = Computation(ID, BraggDisks)
