"""A 4D-STEM scan of two grains in the real window: classified by the menu, a class clicked, the strain mapped."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem
from nion.utils import Geometry
from series_steps import choose_items
from store_driver import command
from user import call, picture, until

SIDE, DETECTOR, RADIUS, SPACING = 8, 48, 3.0, 11.0


def grains(*columns: int) -> DataAndMetadata.DataAndMetadata:
    """Return frames with a column of each of two grains 0 and 1, which is turned by 30 degrees."""
    y, x = np.mgrid[:DETECTOR, :DETECTOR] - DETECTOR / 2
    rates = np.empty((2, DETECTOR, DETECTOR))
    for grain, turn in enumerate((0.0, np.pi / 6)):
        g = SPACING * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        places = [(h, k) @ g for h in (-1, 0, 1) for k in (-1, 0, 1)]
        soft = [np.clip(0.5 - np.hypot(y - v, x - u) + RADIUS, 0, 1) for v, u in places]
        rates[grain] = 0.05 + 30 * soft[4] + 5 * (sum(soft) - soft[4])
    frames = np.random.default_rng(0).poisson(rates[list(columns)], (SIDE, len(columns), DETECTOR, DETECTOR))
    nm, mrad = Calibration.Calibration(0.0, 1.0, "nm"), Calibration.Calibration(0.0, 0.5, "mrad")
    return DataAndMetadata.new_data_and_metadata(
        frames.astype(np.uint16),
        dimensional_calibrations=[nm, nm, mrad, mrad],
        data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 2),
    )


async def run(window: Any) -> dict[str, Any]:
    """Return the titles of maps, of the pattern after a click into each half, and what went wrong."""
    model, places = window.document_model, window.workspace_controller.display_panels
    for place in places:  # where the results come, the main one first
        place.set_display_panel_display_item(None)

    async def choose(title: str, *columns: int) -> None:
        item = DataItem.new_data_item(grains(*columns))
        item.title = title
        model.append_data_item(item)
        await choose_items(window, [model.get_display_item_for_data_item(item)])

    def titled(start: str) -> Any:
        return next((each for each in model.data_items if each.title.startswith(f"{start} [")), None)

    def column() -> int:
        return int(titled("Pattern of Two Grains").metadata["esteem"]["position"][1])

    await choose("Two Grains", *[0] * (SIDE // 2), *[1] * (SIDE // 2))
    await command("Classify 4D-STEM...")
    await until(lambda: titled("Pattern of Two Grains"), "nothing was classified")
    await picture("diffraction_parameters.png")
    await call("wmctrl", "-c", ": Parameters")
    (shown,) = (place for place in places if place.data_item is titled("Classes of Two Grains"))
    clicked = []
    for half, part in enumerate((0.35, 0.65)):
        size = shown.canvas_size
        at = shown.map_to_global(Geometry.IntPoint(y=round(0.6 * size.height), x=round(part * size.width)))
        for last in (False,) * 5 + (True,):  # a click may get lost while the window draws
            await call("xdotool", "mousemove", str(at.x), str(at.y), "sleep", "0.3", "click", "1")
            try:
                await until(lambda half=half: column() // (SIDE // 2) == half, "the pattern is another one", 15.0)
                break
            except TimeoutError:
                if last:
                    raise
        clicked.append(titled("Pattern of Two Grains").title)
    await asyncio.sleep(0.5)  # until the last title is drawn
    await picture("diffraction_classes.png")
    before = len(model.computations)
    await choose("One Grain", 0, 0, 0)
    await command("Strain Map...")
    await until(lambda: titled("Strain xx of One Grain"), "no strain was mapped")
    await call("wmctrl", "-c", ": Parameters")
    return {
        "classes": titled("Classes of Two Grains").title,
        "clicked": clicked,
        "strained": int(np.isfinite(titled("Strain xx of One Grain").data).sum()),
        "errors": [each.error_text for each in model.computations[before:]],
    }
