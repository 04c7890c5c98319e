"""Pictures of classes, and of disks and strain, in the real window, for `take_screenshots`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCREEN = (1400, 860)
SCAN, FRAME = (32, 32), (80, 80)
RADIUS_PX, STEP_NM, PIXEL = 4.0, 2.0, 0.25
"""Radius of a disk, step of the scan, and 1/nm per pixel of the detector."""
ELECTRONS = 3000
STRAIN = 0.015


CLASSES = [["map"], ["picked", "confidence"], ["patterns", "fractions"]]
DISKS = [["number", "map"], ["exx", "eyy"], ["rotation", "exx_sigma"]]
"""What stands in each column."""


def _layout(columns: list[list[str]]) -> dict[str, Any]:
    """Return columns of places for images: "vertical" is how Nion Swift calls a cut from top to bottom."""
    parts = [
        {
            "type": "splitter",
            "orientation": "horizontal",
            "splits": [1 / len(names)] * len(names),
            "children": [{"type": "image", "display_panel_id": name} for name in names],
        }
        for names in columns
    ]
    widths = [2.0 / len(names) for names in columns]
    splits = [width / sum(widths) for width in widths]
    return {"type": "splitter", "orientation": "vertical", "splits": splits, "children": parts}


# inside Nion Swift ------------------------------------------------------------------------------------------------


def frames(**chosen: Any) -> Any:
    """Return a simulated scan as Nion Swift has it."""
    from nion.data import Calibration, DataAndMetadata

    from esteemcore import simulate

    truth = simulate.polycrystal(SCAN, FRAME, radius_px=RADIUS_PX, electrons=ELECTRONS, **chosen)
    place = Calibration.Calibration(0.0, STEP_NM, "nm")
    detector = [Calibration.Calibration(-size / 2 * PIXEL, PIXEL, "1/nm") for size in FRAME]
    return DataAndMetadata.new_data_and_metadata(
        truth.frames(),
        intensity_calibration=Calibration.Calibration(0.0, 1.0, "counts"),
        dimensional_calibrations=[place, place, *detector],
        data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 2),
    )


def bend(u: Any, v: Any) -> Any:
    """Return strain and rotation of a film with a layer that is stretched, and bends it."""
    import numpy as np

    layer = (np.abs(u - 0.1) < 0.15).astype(float)
    return np.stack([STRAIN * layer, -0.3 * STRAIN * layer, 0 * u, 0.02 * v], axis=-1)


def add(model: Any, xdata: Any, title: str) -> Any:
    """Return a new data item."""
    from nion.swift.model import DataItem

    item = DataItem.new_data_item(xdata)
    item.title = title
    model.append_data_item(item)
    return item


def show(window: Any, name: str, columns: list[list[str]], items: dict[str, Any]) -> list[Any]:
    """Show data items in places of their own; return the places."""
    workspace = window.workspace_controller
    layout = _layout(columns)
    workspace.change_workspace(workspace.new_workspace(name=name, layout=layout, workspace_id=name, index=0))
    for panel in list(workspace.dock_panels):
        panel.hide()
    names = [name for column in columns for name in column]
    for place, each in zip(workspace.display_panels, names, strict=True):
        place.set_display_panel_display_item(window.document_model.get_display_item_for_data_item(items[each]))
    return list(workspace.display_panels)


async def done(computation: Any, item: Any) -> None:
    """Wait for the first results of a computation."""
    import user

    await user.until(lambda: computation.error_text or item.xdata is not None, "nothing was computed", 120)
    if computation.error_text:
        raise RuntimeError(computation.error_text)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Classify one scan and click a class, map the strain of another; return titles."""
    import asyncio

    import user
    from nion.swift.model import Graphics
    from nion.utils import Geometry

    from nionswift_plugin.esteem_process.computations import bragg_disks, classify_frames, strain_map

    model = window.document_model
    item = add(model, frames(grains=4, amorphous=1, seed=2), "Grains")
    computation, classes = classify_frames.make(model, item)
    await done(computation, classes["labels"])
    places = show(window, "Classes", CLASSES, classes)
    await user.call("wmctrl", "-r", "Nion Swift", "-b", "remove,maximized_vert,maximized_horz")
    await user.call("wmctrl", "-r", "Nion Swift", "-b", "add,maximized_vert,maximized_horz")
    await asyncio.sleep(1.5)
    at = places[0].map_to_global(
        Geometry.IntPoint(y=places[0].canvas_size.height // 4, x=places[0].canvas_size.width // 2)
    )
    before = classes["picked"].title
    await user.call("xdotool", "mousemove", str(at.x), str(at.y), "sleep", "0.1", "click", "1")
    await user.until(lambda: classes["picked"].xdata is not None, "no pattern")
    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await asyncio.sleep(2.0)
    await user.picture("classes.png")

    item = add(model, frames(strain=bend, spacing_px=15.0, seed=3), "Film")
    _, disks = bragg_disks.make(model, item)
    reference = Graphics.RectangleGraphic()
    reference.bounds, reference.label = ((0.1, 0.02), (0.85, 0.4)), "Reference"
    model.get_display_item_for_data_item(disks["number"]).add_graphic(reference)
    computation, maps = strain_map.make(model, disks["table"], disks["number"], item.title, reference=reference)
    await user.until(lambda: maps["used"].xdata is not None, "no strain", 120)
    show(window, "Strain", DISKS, maps | disks)
    await asyncio.sleep(2.5)
    await user.picture("strain.png")
    return {"before": before, "titles": [each.title for each in (classes | disks | maps).values()]}


# outside ----------------------------------------------------------------------------------------------------------


def cut(taken: dict[str, Any], found: dict[str, Any], save: Callable[[Any, str], None]) -> None:
    """Save the pictures."""
    for name in ("classes", "strain"):
        save(taken[name], name)
