"""Map the strain of the selected 4D-STEM scan relative to a reference region, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift.model import Graphics

from nionswift_plugin.esteem_process import frame_items, notices, parameters_window
from nionswift_plugin.esteem_process.computations import bragg_disks, strain_map
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Strain Map..."
SELECT = (
    "Select one 4D-STEM data item or a result of Bragg Disks, and a rectangle on a map of the scan if the strain is to "
    "be relative to what it encloses"
)


def _map(window: Any) -> None:
    model = window.document_model
    items = [item for item in window.selected_data_items if item.xdata is not None]
    disks = _disks(model, items)
    if disks is None:
        notices.tell(TITLE, SELECT)
        return
    table, number = disks.get_output("table"), disks.get_output("number")
    title = table.title.partition(" [")[0].removeprefix(f"{bragg_disks.TITLES['table']} of ")
    frames = next((item for item in disks.direct_input_items if frame_items.is_4d(item.xdata)), None)
    maps = [item for item in items if frames is not None and frame_items.shows_scan_of(item.xdata, frames.xdata)]
    reference = _reference(model, [*maps, number], number)
    computation, made = strain_map.make(model, table, number, title, reference=reference)
    parameters_window.open_results(window, computation, [made[name] for name in strain_map.COMPONENTS])


def _disks(model: Any, items: list[Any]) -> Any:
    """Return the search for disks that was selected, or that works on what was selected, a new one if need be."""
    known = [frame_items.computation_of(model, item, bragg_disks.ID) for item in items]
    found = {computation.uuid: computation for computation in known if computation is not None}
    frames = [item for item in items if frame_items.is_4d(item.xdata)]
    if len(found) > 1 or len(frames) > 1:
        return None
    if found:
        return next(iter(found.values()))
    return bragg_disks.make(model, frames[0])[0] if len(frames) == 1 else None


def _reference(model: Any, items: list[Any], number: Any) -> Graphics.Graphic:
    """Return the selected graphic with an area on one of the maps, else a new one round all of the map of numbers."""
    for item in items:
        for graphic in model.get_display_item_for_data_item(item).selected_graphics:
            if isinstance(graphic, Graphics.RectangleGraphic | Graphics.EllipseGraphic):
                return graphic
    display = model.get_display_item_for_data_item(number)
    whole = Graphics.RectangleGraphic()
    whole.bounds = ((0.0, 0.0), (1.0, 1.0))
    whole.label = "Reference"
    display.add_graphic(whole)
    return whole


COMMAND = Command(TITLE, _map)
