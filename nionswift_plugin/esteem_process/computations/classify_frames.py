"""A computation that divides a 4D-STEM scan into grains and amorphous phases."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Graphics, Symbolic

from esteemcore import diffraction, io
from esteemcore.cli.classify import described
from nionswift_plugin.esteem_process import beam_items, class_map, frame_items, linked_items
from nionswift_plugin.esteem_process.computations import class_pattern
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_process.spectra_items import steps

ID = "esteem.classify"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "radius": ("real", 0.0, "Radius of a disk (px; 0: that of the beam)"),
    "classes": ("integral", 0, "Classes (0: find out)"),
    "binning": ("integral", 0, "Bins (px; 0: from radius and dose)"),
    "second_way": ("boolean", False, "Check by Bragg disks (takes twice as long)"),
    "seed": ("integral", 0, "Seed"),
    "center": ("string", "", beam_items.CENTER),
}
"""Type, value and label."""

TITLES = {
    "map": "Classes",
    "confidence": "Confidence",
    "patterns": "Patterns",
    "fractions": "Fractions",
    "labels": "Class Numbers",
}

PICK = "esteem.pick"
"""Identifier of the point on the map whose class is shown."""


class ClassifyFrames:
    """Classify in a thread, then show maps and patterns.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Classify 4D-STEM"
    inputs: ClassVar = {"src": {"label": "Frames"}, "mask": {"label": "Good Pixels"}} | {
        name: {"label": p[2]}
        for name, p in PARAMETERS.items()
        if name != "radius"  # its own label is better
    }
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[diffraction.Classes, float, list[str], tuple[io.Axis, ...]] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = linked_items.given_of(self._computation, context)
        data, axes = frame_items.frames_of(given["src"].xdata)
        mask = frame_items.good_pixels(given, data.shape[2:])
        radius, doubts = beam_items.radius_of(data, given, mask, steps(context, 0.0, 0.1))
        found = diffraction.classify(
            data,
            radius,
            given["classes"] or None,
            binning=given["binning"] or None,
            mask=mask,
            center=beam_items.typed_center(given),
            second_way=given["second_way"],
            seed=given["seed"],
            progress=steps(context, 0.1, 1.0),
        )
        self._made = found, radius, list(dict.fromkeys([*doubts, *found.notes])), axes

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (found, radius, notes, axes), self._made = self._made, None
        of, beam = (io.Axis("frame", len(found)), *axes[:2]), found.descan.reference
        detector = frame_items.centered(axes, (float(beam[0]), float(beam[1])))
        names = class_map.names(found)
        entry = {"classes": {**described(found), "names": names, "radius_px": radius, "notes": notes}}
        n = f"{len(found)} class{'es' if len(found) != 1 else ''}"
        figures = f"{n}, disks of {beam_items.in_units(radius, axes)}"
        shown: dict[str, tuple[Any, str]] = {
            "map": (class_map.colored(found, axes, entry), figures),
            "confidence": (linked_items.xdata_of(found.confidence, axes[:2], entry), n),
            "patterns": (
                linked_items.xdata_of(found.patterns, (of[0], *detector), entry, "counts"),
                "; ".join(names),
            ),
            "fractions": (linked_items.xdata_of(found.fractions, of, entry), "; ".join(names)),
            "labels": (linked_items.xdata_of(found.labels.astype(np.int32), axes[:2], entry), n),
        }
        why = "\n".join([found.reason, *(f"Note: {note}" for note in notes)])
        for name, (xdata, words) in shown.items():
            linked_items.show(self._computation, name, xdata, words)
            frame_items.describe(self._computation, name, why)
        for name in ("confidence", "fractions"):  # parts of one, whatever their range
            for channel in self._computation.get_result(name)._data_item.display_data_channels:
                channel.display_limits = (0.0, 1.0)
        class_map.write_names(self._computation.get_result("map"), found)


def make(
    document_model: Any, item: DataItem.DataItem, *, mask: DataItem.DataItem | None = None, **chosen: Any
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on 4D-STEM data and what it will fill, with the pattern of the class under a point.

    The point lies on the map. Pixels of the detector where the image ``mask`` is zero are left out.
    """
    parameters = beam_items.parameters_for(PARAMETERS, item)
    beside = {"mask": (mask, "Good Pixels")}
    computation, made = linked_items.make_of(
        document_model, ClassifyFrames, ID, parameters, TITLES, (item, "Frames"), chosen, beside
    )
    for channel in frame_items.channels(made["patterns"], document_model):
        channel.adjustments = frame_items.WEAK
    pick = Graphics.PointGraphic()
    pick.graphic_id = PICK
    document_model.get_display_item_for_data_item(made["map"]).add_graphic(pick)
    _, picked = class_pattern.make(document_model, made["labels"], made["patterns"], pick, item.title)
    return computation, made | picked


COMPUTATION = Computation(ID, ClassifyFrames)
