"""What a user does, for drivers that run inside Nion Swift: mouse, keyboard, and waiting for what happens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nion.ui import UserInterface
from nion.utils import Geometry

WORK = Path(os.environ["SWIFT_WORK"])
PANEL = "esteem-live4d-panel"
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
    await asyncio.to_thread(subprocess.run, command, env=environment(), timeout=30, check=True)


def environment() -> dict[str, str]:
    """Return the environment for programs of the system."""
    return {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}


async def until(condition: Callable[[], Any], what: str, limit_s: float = 240.0) -> float:
    """Wait for something, and return how long it took in s."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"after {limit_s:g} s: {what}")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def click(widget: Any) -> None:
    """Move the mouse onto a widget and click."""
    size = widget.size
    at = widget.map_to_global(Geometry.IntPoint(y=size.height // 2, x=size.width // 2))
    await call("xdotool", "mousemove", str(at.x), str(at.y), "sleep", "0.05", "click", "1")


async def enter(widget: Any, text: str) -> None:
    """Type into a line edit instead of what is there."""
    await click(widget)
    await call("xdotool", "key", "ctrl+a", "type", text)
    await call("xdotool", "key", "Return")


async def choose(widget: Any, text: str) -> None:
    """Choose an entry of a combo box: open it with the mouse, type its name."""
    await click(widget)
    await asyncio.sleep(0.3)
    await call("xdotool", "type", text)
    await call("xdotool", "key", "Return")


async def picture(name: str) -> None:
    """Take a picture of the screen into the work folder."""
    await call("import", "-window", "root", str(WORK / name))


def button(panel: Any, text: str) -> Any:
    """Return the push button of a panel that says this.

    Raises
    ------
    LookupError
        If there is none.
    """
    waiting, seen = [panel.widget], []
    while waiting:
        widget = waiting.pop()
        if isinstance(widget, UserInterface.PushButtonWidget):
            seen.append(widget.text)
            if widget.text == text:
                return widget
        waiting += widget._contained_widgets
    raise LookupError(f"no button {text!r} among {seen}")


async def show_panels(window: Any, *panel_ids: str) -> list[Any]:
    """Show four places for images and only these panels, the data panel aside; return the panels."""
    workspace = window.workspace_controller
    workspace.change_workspace(workspace.new_workspace(name="Esteem", layout=QUADRANTS, workspace_id="esteem", index=0))
    for panel in workspace.dock_panels:  # so that no button lies below the visible part
        if panel.panel_id not in (*panel_ids, "data-panel"):
            panel.hide()
    for panel_id in panel_ids:
        window.find_dock_panel(panel_id).show()
    await call("wmctrl", "-r", "Nion Swift", "-b", "add,maximized_vert,maximized_horz")
    await asyncio.sleep(1.5)
    return [window.find_dock_panel(panel_id) for panel_id in panel_ids]


async def ready(handler: Any) -> None:
    """Wait until the panel has nothing to do and the plan is reckoned."""
    await until(lambda: not handler.is_busy, f"the panel says {handler.message.value!r}")
    await until(lambda: not handler.plan.is_busy, "the plan was not reckoned")
    await asyncio.sleep(0.2)


async def ended(handler: Any, limit_s: float = 240.0) -> str:
    """Wait for the end of a run and return what the panel says."""
    words = ("Done", "Error", "Not", "Stopped")
    await until(lambda: handler.message.value.startswith(words), "the run did not end", limit_s)
    await until(lambda: handler.images.item("ssb") is not None, f"no phase image; {handler.message.value!r}")
    await ready(handler)
    return str(handler.message.value)
