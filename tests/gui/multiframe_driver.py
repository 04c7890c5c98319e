"""Make a region, take a survey image, type a pixel size and acquire 40 frames, by mouse and keyboard; append some."""

from __future__ import annotations

from typing import Any

import numpy as np
from user import WORK, call, click, enter, picture, show_panels, until

PANEL = "esteem-multiframe-panel"


async def settled(handler: Any, limit_s: float = 60.0) -> str:
    """Wait until nothing goes on; return what the panel says."""
    await until(
        lambda: not handler.is_busy and not handler.model.is_busy, f"it says {handler.message.value!r}", limit_s
    )
    return str(handler.message.value)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what the panel says, and what it has shown."""
    (panel,) = await show_panels(window, PANEL)
    handler, model = panel.handler, panel.handler.model
    model.folder.value = str(WORK / "session")
    model.instrument.prepare_scene()
    model.instrument.stage.wait()
    await settled(handler)
    await click(handler.new_region_button)
    await click(handler.survey_button)
    await until(lambda: handler.survey.drawn is not None, f"no survey: {handler.message.value!r}")
    await settled(handler)
    await enter(handler.height_edit, "6.35")
    await enter(handler.width_edit, "6.4")
    await enter(handler.pixel_edit, "0.1")
    await enter(handler.frames_edit, "40")
    await settled(handler)
    figures = model.figures.value
    await picture("multiframe_plan.png")
    await click(handler.acquire_button)
    await until(lambda: handler.is_running.value, f"not started: {handler.message.value!r}")
    await until(lambda: handler.progress.value >= 30, "no frames")
    await picture("multiframe_running.png")
    message = await settled(handler)
    region = handler.region
    await enter(handler.frames_edit, "2")
    await settled(handler)
    await click(handler.acquire_button)
    await until(lambda: handler.is_running.value or region.count == 42, "it did not begin again")
    again = await settled(handler)
    handler.scroll_area.scroll_to(0, 100_000)
    await call("xdotool", "mousemove", "960", "5")
    await picture("multiframe_end.png")
    return {
        "figures": figures,
        "message": message,
        "again": again,
        "region": str(region.path),
        "shown": float(np.asarray(handler.last_item.xdata.data).sum()),
        "blanked": model.instrument.is_blanked,
        "kinds": sorted(model.instrument.ledger.totals),
    }
