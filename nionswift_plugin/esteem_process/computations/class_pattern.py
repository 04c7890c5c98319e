"""A computation that shows the mean pattern of the class under a point of a map of classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import DataItem, Graphics, Symbolic

from nionswift_plugin.esteem_process import frame_items, linked_items
from nionswift_plugin.esteem_process.registry import Computation
from nionswift_plugin.esteem_scan import binding

ID = "esteem.class_pattern"


class ClassPattern:
    """Look up the class of a position, and show its pattern.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Pattern of a Class"
    inputs: ClassVar = {
        "labels": {"label": "Class Numbers"},
        "patterns": {"label": "Patterns"},
        "pick": {"label": "Position"},
    }
    outputs: ClassVar = {"picked": {"label": "Pattern"}}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[DataAndMetadata.DataAndMetadata, str] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Look the pattern up; there is none before the scan is classified."""
        given = dict(context.parameters.parameter_map)
        labels, patterns = given["labels"].xdata, given["patterns"].xdata
        if labels is None or patterns is None:
            return
        at = tuple(
            min(max(int(part * size), 0), size - 1)
            for part, size in zip(given["pick"].position, labels.data_shape, strict=True)
        )
        number = int(labels.data[at])
        if number >= len(patterns.data):  # one of them is still that of before
            return
        names = patterns.metadata[binding.KEY]["classes"]["names"]
        pattern = np.array(patterns.data[max(number, 0)])
        made = DataAndMetadata.new_data_and_metadata(
            pattern if number >= 0 else np.zeros_like(pattern),
            intensity_calibration=patterns.intensity_calibration,
            dimensional_calibrations=patterns.dimensional_calibrations[1:],
            metadata={binding.KEY: {"class": number, "position": at}},
            data_descriptor=DataAndMetadata.DataDescriptor(False, 0, 2),
        )
        self._made = made, f"class {names[number]}" if number >= 0 else "no class here"

    def commit(self) -> None:
        """Show the pattern."""
        if self._made is not None:
            linked_items.show(self._computation, "picked", *self._made)


def make(
    document_model: Any, labels: DataItem.DataItem, patterns: DataItem.DataItem, pick: Graphics.Graphic, title: str
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on numbers and patterns of classes and a point, and what it will fill."""
    computation, made = linked_items.make(
        document_model,
        ID,
        ClassPattern.label,
        {"labels": (labels, "Class Numbers"), "patterns": (patterns, "Patterns"), "pick": (pick, "Position")},
        {},
        {"picked": f"Pattern of {title}"},
    )
    for channel in frame_items.channels(made["picked"], document_model):
        channel.adjustments = frame_items.WEAK
    return computation, made


COMPUTATION = Computation(ID, ClassPattern)
