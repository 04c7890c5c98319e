"""A computation that finds the repeats of what a rectangle encloses, and averages image and spectra over them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from nion.swift.model import DataItem, Graphics, Symbolic

from esteemcore import io, register
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import descriptors, linked_items
from nionswift_plugin.esteem_process.registry import Computation

ID = "esteem.motif_average"

PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "threshold": ("real", 0.6, "Least Score (0 to 1)"),
    "overlap": ("real", 0.5, "Overlap (0 to 1)"),
    "upsample": ("integral", 2, "Fine pixels per pixel"),
    "rotations": ("string", "", "Also turned by (degrees)"),
}
"""Type, value and label."""

TITLES = {"image": "Motif", "places": "Places", "spectra": "Motif Spectra"}
TABLE = ("frame", "y", "x", "angle_deg", "score")


class MotifAverage:
    """Search and average in a thread, then show the results.

    Parameters
    ----------
    computation
        Nion's computation.
    """

    label = "Motif Average"
    inputs: ClassVar = {"src": {"label": "Image"}, "series": {"label": "Spectra"}, "motif": {"label": "Motif"}} | {
        name: {"label": label} for name, (_, _, label) in PARAMETERS.items()
    }
    outputs: ClassVar = {name: {"label": title} for name, title in TITLES.items()}

    def __init__(self, computation: Any, **kwargs: Any) -> None:
        self._computation = computation
        self._made: tuple[register.BoxAverage, list[io.Axis]] | None = None

    def execute_task(self, context: Symbolic.ComputationExecutorContext) -> None:
        """Compute; Stop and progress go through the context."""
        given = linked_items.given_of(self._computation, context)
        image = given["src"].xdata
        spectra = None if given.get("series") is None else given["series"].xdata
        if image is None or (given.get("series") is not None and spectra is None):
            raise ParameterError("the image or the spectra hold no data")

        def step(done: float) -> None:
            context.sync_execution()
            context.progress = done

        context.sync_execution()
        try:
            found = register.average_box(
                np.asarray(image.data),
                _box(given["motif"].bounds, image.data_shape[-2:]),
                None if spectra is None else spectra.data,
                given["threshold"],
                given["upsample"],
                overlap=given["overlap"],
                rotations_deg=_angles(given["rotations"]),
                progress=step,
            )
        except EsteemError:
            raise
        except MemoryError as error:
            raise ParameterError("there is not enough memory; take fewer fine pixels, or a part of the data") from error
        self._made = found, _axes(image, spectra, found)

    def commit(self) -> None:
        """Show what was computed."""
        if self._made is None:
            return
        (found, axes), self._made = self._made, None
        entry = {"motif": {"copies": found.image.count, "provenance": found.image.provenance.as_dict()}}
        copies = f"{found.image.count} copies"
        table = np.stack([np.asarray(getattr(found.places, name), np.float64) for name in TABLE])
        listed = (io.Axis("y", len(TABLE)), io.Axis("x", found.places.count))
        entry_of_table = {"motif": {**entry["motif"], "rows": list(TABLE)}}
        for name, data, where, what in (
            ("image", found.image.mean, axes[:2], entry),
            ("places", table, listed, entry_of_table),
            ("spectra", None if found.spectra is None else found.spectra.data, axes, entry),
        ):
            if data is not None:
                linked_items.show(self._computation, name, linked_items.xdata_of(data, where, what), copies)


def _box(bounds: Any, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a rectangle, given in parts of the image, in px."""
    (top, left), (height, width) = bounds
    first = max(round(top * shape[0]), 0), max(round(left * shape[1]), 0)
    size = min(round(height * shape[0]), shape[0] - first[0]), min(round(width * shape[1]), shape[1] - first[1])
    return first, size


def _angles(text: str) -> list[float] | None:
    try:
        angles = [float(word) for word in str(text).replace(",", " ").split()]
    except ValueError:
        raise ParameterError(f"{text!r} are no angles; expected degrees, as in 90 180 270") from None
    if not all(math.isfinite(angle) for angle in angles):
        raise ParameterError(f"{text!r} are no angles; expected degrees, as in 90 180 270")
    return [0.0, *angles] if angles else None


def _axes(image: Any, spectra: Any, found: register.BoxAverage) -> list[io.Axis]:
    """Return the axes of the averages: places from the centre of the motif, and the energy."""
    axes = []
    for name, size, step in zip(
        ("y", "x"), found.image.coverage.shape, image.dimensional_calibrations[-2:], strict=True
    ):
        scale = step.scale / found.image.upsample
        axes.append(io.Axis(name, size, scale, -(size - 1) / 2 * scale, step.units or ""))
    if spectra is not None:
        energy = spectra.dimensional_calibrations[-1]
        names = descriptors.axis_names(spectra.data_descriptor, spectra.dimensional_calibrations)
        axes.append(io.Axis(names[-1], spectra.data_shape[-1], energy.scale, energy.offset, energy.units or ""))
    return axes


def make(
    document_model: Any,
    image: DataItem.DataItem,
    motif: Graphics.Graphic,
    spectra: DataItem.DataItem | None = None,
    **chosen: Any,
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on an image with a rectangle in it, with spectra or without, and what it will fill."""
    shown = {name: title for name, title in TITLES.items() if spectra is not None or name != "spectra"}
    return linked_items.make(
        document_model,
        ID,
        MotifAverage.label,
        {"src": (image, "Image"), "series": (spectra, "Spectra"), "motif": (motif, "Motif")},
        {name: (kind, chosen.get(name, value), label) for name, (kind, value, label) in PARAMETERS.items()},
        {name: f"{title} of {image.title}" for name, title in shown.items()},
    )


COMPUTATION = Computation(ID, MotifAverage)
