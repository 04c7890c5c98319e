"""Picture of a live Bragg-vector map in the real window, for `take_screenshots`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCREEN = (1400, 900)
SIDE, FOV_NM = 64, 6.4
SPECIMEN, THICKNESS_NM = "srtio3", 20.0
CONTROLS = {"ConvergenceAngle": 2e-3, "CameraPixelAngle": 0.2e-3}
"""A narrow beam, and a long camera length, in rad."""
DWELL_US = "160"


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Acquire with a narrow beam, and take the picture when the map has formed."""
    import asyncio

    import user

    (panel,) = await user.show_panels(window, user.PANEL)
    handler, plan = panel.handler, panel.handler.plan
    handler.folder.value = str(Path(tempfile.gettempdir()) / "esteem" / "data")
    plan.rows.value = plan.columns.value = SIDE
    plan.fov_nm.value = FOV_NM
    await user.ready(handler)
    plan.instrument.stage.select(SPECIMEN, THICKNESS_NM)
    for name, value in CONTROLS.items():
        plan.instrument.controls.set_value(name, value)
    await user.enter(handler.plan_handler.dwell_edit, DWELL_US)
    await user.ready(handler)
    handler.scroll_area.scroll_to(0, 100_000)
    await user.click(handler.bragg_box)
    await user.until(lambda: handler.bragg.value, "the box was not checked")
    await user.click(handler.acquire_button)
    message = await user.ended(handler, 120)
    if not message.startswith("Done"):
        raise RuntimeError(message)
    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await user.until(lambda: handler.images.item("disks") is not None, "no map of disks")
    model, places = window.document_model, window.workspace_controller.display_panels
    shown = {name: model.get_display_item_for_data_item(handler.images.item(name)) for name in ("icom", "disks")}
    await user.until(lambda: any(place.display_item is shown["icom"] for place in places), "iCoM is not shown")
    for place in places:
        if place.display_item is shown["icom"]:
            place.set_display_panel_display_item(shown["disks"])
    await user.until(lambda: not plan.is_busy, "the plan goes on")
    await asyncio.sleep(2.0)
    await user.picture("bragg.png")
    return {}


def cut(taken: dict[str, Any], found: dict[str, Any], save: Callable[[Any, str], None]) -> None:
    """Save the picture."""
    save(taken["bragg"], "live_bragg")
