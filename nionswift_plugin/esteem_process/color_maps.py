"""A colour map for values of both signs: blue, light grey, red; black where there is no value."""

from __future__ import annotations

from typing import Any

import numpy as np
from nion.swift.model import ColorMaps

from esteemcore.cli.pictures import limits

DIVERGING = "esteem-diverging"
"""Under this name projects store it; never to be changed."""

POINTS: tuple[dict[str, Any], ...] = (
    {"x": 0.0, "rgb": [0, 0, 0]},  # Nion shows NaN as the least colour, which no value has, see `center`
    {"x": 0.004, "rgb": [33, 61, 164]},
    {"x": 0.25, "rgb": [116, 153, 228]},
    {"x": 0.5, "rgb": [235, 235, 235]},
    {"x": 0.75, "rgb": [226, 122, 98]},
    {"x": 1.0, "rgb": [160, 15, 35]},
)


def register() -> None:
    """Make the colour map known to Nion Swift, in whose inspector it can be chosen."""
    lookup = ColorMaps.generate_lookup_array_from_points([dict(point) for point in POINTS], 256)
    ColorMaps.add_color_map(ColorMaps.ColorMap(DIVERGING, "Diverging (Esteem)", lookup))


def center(channel: Any, values: Any) -> None:
    """Show values in these colours, zero in the middle, and the largest one just within the range."""
    known = np.asarray(values)[np.isfinite(values)]
    largest = max(map(abs, limits(known, 0.0)))
    channel.color_map_id = DIVERGING
    channel.display_limits = (-1.01 * largest, 1.01 * largest)
