"""A stored series of images and spectra in the real window: aligned by the menu, and a motif of its mean averaged."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem, Graphics
from store_driver import command
from user import call, click, picture, until

FRAMES, SIZE, CHANNELS, CELL, STEP_NM = 6, 72, 32, 12, 0.03
DRIFT = (0.5, -0.3)
"""Of the specimen, in px per frame."""


def series() -> list[Any]:
    """Return images and spectra of a lattice with an interface and a bright place, that drifts by `DRIFT`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    line = np.exp(-(((5.0 * np.arange(CHANNELS) - 60) / 15) ** 2))
    images, spectra = [], []
    for k in range(FRAMES):
        v, u = y + k * DRIFT[0], x + k * DRIFT[1] + rng.normal(0, 0.2, (SIZE, 1))
        columns = np.exp(2.5 * (np.cos(2 * np.pi * v / CELL) + np.cos(2 * np.pi * u / CELL) - 2))
        heavy = columns * (1 + (u > SIZE / 2) + 2 * np.exp(-((v - 48) ** 2 + (u - 20) ** 2) / 60))
        images.append(rng.poisson(60 * heavy + 5))
        spectra.append(rng.poisson(3 * columns[..., None] * line + 0.2))
    nm = Calibration.Calibration(0.0, STEP_NM, "nm")
    axes = [Calibration.Calibration(), nm, nm, Calibration.Calibration(400.0, 5.0, "eV")]
    return [
        DataAndMetadata.new_data_and_metadata(
            np.array(data, np.float32),
            dimensional_calibrations=axes[: data[0].ndim + 1],
            data_descriptor=DataAndMetadata.DataDescriptor(True, *dimensions),
        )
        for data, dimensions in ((images, (0, 2)), (spectra, (2, 1)))
    ]


async def choose_items(window: Any, displays: list[Any]) -> None:
    """Select data items in the data panel, which a click gives the keyboard, the main window in front."""
    await call("wmctrl", "-a", "Nion Swift")
    await click(window.find_dock_panel("data-panel").widget)
    await asyncio.sleep(0.2)
    window.select_display_items_in_data_panel(displays)
    window.data_panel_focused()
    await asyncio.sleep(0.5)


async def run(window: Any) -> dict[str, Any]:
    """Return the titles of what appeared, and the drift that was found, in nm per frame."""
    model, places = window.document_model, window.workspace_controller.display_panels
    items = []
    for title, xdata in zip(("Stored ADF", "Stored EELS"), series(), strict=True):
        item = DataItem.new_data_item(xdata)
        item.title = title
        model.append_data_item(item)
        items.append(item)
    before = set(model.data_items)

    def titled(start: str) -> Any:
        return next((d for d in model.data_items if d.title.startswith(start) and d not in before), None)

    await choose_items(window, [model.get_display_item_for_data_item(item) for item in items])
    await command("Align Multi-Frame SI...")
    await until(lambda: titled("Coverage and Maps of"), "nothing was aligned")
    await asyncio.sleep(0.5)
    await picture("series_aligned.png")
    await call("wmctrl", "-c", ": Parameters")  # which has the keyboard
    mean, total = titled("Mean of"), titled("Sum of")
    graphic = Graphics.RectangleGraphic()
    graphic.bounds = ((18 / SIZE, 6 / SIZE), (2 * CELL / SIZE, 2 * CELL / SIZE))
    shown = model.get_display_item_for_data_item(mean)
    shown.add_graphic(graphic)
    await choose_items(window, [shown, model.get_display_item_for_data_item(total)])
    await command("Motif Average...")
    await until(lambda: titled("Motif Spectra of"), "no motif was averaged")
    await call("wmctrl", "-c", ": Parameters")
    for place, start in zip(places, ("Mean of", "Drift Down", "Motif of", "Motif Spectra"), strict=True):
        place.set_display_panel_display_item(model.get_display_item_for_data_item(titled(start)))
    await asyncio.sleep(1)
    await picture("series_motif.png")
    return {
        "titles": [item.title for item in model.data_items if item not in before],
        "drift_nm": float(np.diff(np.asarray(titled("Drift Down").data)).mean()),
    }
