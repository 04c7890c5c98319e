"""Marks at the X-ray lines of elements in a plot of spectra."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from esteemcore import io, spectral
from esteemcore.errors import CalibrationError

PREFIX = "esteem.line "
"""Graphics whose identifiers begin so are marks of this module, which it may take away."""

_KEV = {"eV": 1e-3, "keV": 1.0}


class Line(NamedTuple):
    """Name of a line, and its place in the plot, 0 at the left and 1 at the right."""

    name: str
    place: float


def lines_of(elements: str, axis: io.Axis) -> tuple[Line, ...]:
    """Return the strongest line of each family of each element that is within the axis.

    Raises
    ------
    CalibrationError
        If the axis is not in eV or keV.
    """
    symbols = re.findall(r"[^\s,;]+", elements)
    if not symbols:
        return ()
    if axis.unit not in _KEV:
        raise CalibrationError(f"the spectra have an axis in {axis.unit or 'pixels'}; calibrate it in eV to mark lines")
    energy = axis.coordinates * _KEV[axis.unit]
    found = spectral.element_lines(symbols, energy)
    step = float(energy[1] - energy[0])
    return tuple(
        Line(name, (float(main) - float(energy[0]) + step / 2) / (step * axis.size))
        for name, main in zip(found.names, found.main_kev, strict=True)
    )


def mark(item: Any, lines: tuple[Line, ...]) -> None:
    """Put marks on a data item, by Nion's facade of it, in the place of those of before."""
    for graphic in list(item.graphics):
        if (graphic.graphic_id or "").startswith(PREFIX):
            item.remove_region(graphic)
    for line in lines:
        graphic = item.add_channel_region(line.place)
        graphic.label = line.name
        graphic.graphic_id = PREFIX + line.name
