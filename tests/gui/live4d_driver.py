"""Press Acquire with a real mouse click and wait for the phase image."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

from nion.utils import Geometry

WORK = Path(os.environ["SWIFT_WORK"])
QUADRANTS = {
    "type": "splitter",
    "orientation": "vertical",
    "splits": [0.5, 0.5],
    "children": [
        {
            "type": "splitter",
            "orientation": "horizontal",
            "splits": [0.5, 0.5],
            "children": [{"type": "image", "display_panel_id": name} for name in names],
        }
        for names in ("ab", "cd")
    ],
}


async def call(*command: str) -> None:
    """Run a program of the system without blocking the window."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    await asyncio.to_thread(subprocess.run, command, env=environment, timeout=20, check=True)


async def click(widget: Any) -> None:
    """Move the mouse onto a widget and click."""
    at = widget.map_to_global(Geometry.IntPoint(y=widget.size.height // 2, x=widget.size.width // 2))
    await call("xdotool", "mousemove", str(at.x), str(at.y), "click", "1")


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what the panel says at the end, and what the images are."""
    workspace = window.workspace_controller
    workspace.change_workspace(workspace.new_workspace(name="Esteem", layout=QUADRANTS, workspace_id="esteem", index=0))
    for panel in workspace.dock_panels:  # so that no button lies below the visible part
        if panel.panel_id not in ("esteem-live4d-panel", "data-panel"):
            panel.hide()
    window.find_dock_panel("esteem-live4d-panel").show()
    await call("wmctrl", "-r", "Nion Swift", "-b", "add,maximized_vert,maximized_horz")
    handler = window.find_dock_panel("esteem-live4d-panel").handler
    handler.folder.value = str(WORK / "raw")
    handler.plan.rows.value = handler.plan.columns.value = int(os.environ.get("SWIFT_SCAN_SIZE", "128"))
    handler.plan.fov_nm.value = 4.0
    await asyncio.sleep(2)
    await click(handler.acquire_button)
    for _ in range(400):
        await asyncio.sleep(0.1)
        if handler.message.value.startswith(("Done", "Error", "Not", "Stopped")):
            break
    message = handler.message.value
    if handler.images.item("ssb") is None:
        await call("import", "-window", "root", str(WORK / "live4d.png"))
        return {"error": f"no phase image; the panel says {message!r}, {handler.status.value!r}"}
    await click(handler.defocus_edit)
    await call("xdotool", "key", "ctrl+a")
    await call("xdotool", "type", "12")
    await call("xdotool", "key", "Return")
    await asyncio.sleep(2)
    refocused = handler.images.item("ssb").metadata["esteem"]["provenance"]["parameters"]["geometry"]["aberrations"]
    await call("import", "-window", "root", str(WORK / "live4d.png"))
    items = {item.title: item for item in window.document_model.data_items}
    return {
        "message": message,
        "status": handler.status.value,
        "units": {title: item.intensity_calibration.units for title, item in items.items()},
        "refocused": refocused,
        "displayed": sum(panel.display_item is not None for panel in workspace.display_panels),
        "blanked": handler.plan.instrument.is_blanked,
    }
