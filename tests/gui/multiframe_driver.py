"""Make a region, take a survey image, type a pixel size and acquire 40 frames, by mouse and keyboard; append some.

At last a long series is begun, in the midst of which the test kills Nion Swift. With MULTIFRAME_SESSION, the folder of
a session whose last region is continued, only that is done.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from user import WORK, call, click, enter, picture, show_panels, until

PANEL = "esteem-multiframe-panel"
SESSION = os.environ.get("MULTIFRAME_SESSION", "")


async def settled(handler: Any, limit_s: float = 240.0) -> str:
    """Wait until nothing goes on; return what the panel says."""
    await until(
        lambda: not handler.is_busy and not handler.model.is_busy, f"it says {handler.message.value!r}", limit_s
    )
    return str(handler.message.value)


async def plan(handler: Any, frames: int) -> None:
    """Type a region and a number of frames."""
    await enter(handler.height_edit, "6.35")
    await enter(handler.width_edit, "6.4")
    await enter(handler.pixel_edit, "0.1")
    await enter(handler.frames_edit, str(frames))
    await settled(handler)


async def go_on(handler: Any) -> dict[str, Any]:
    """Append two frames to the last region of a session."""
    await click(handler.last_region_button)
    await plan(handler, 2)
    await click(handler.acquire_button)
    await until(lambda: handler.is_running.value or handler.message.value.startswith("Done"), "it did not begin")
    return {"message": await settled(handler), "region": str(handler.region.path)}


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what the panel says, and what it has shown."""
    (panel,) = await show_panels(window, PANEL)
    handler, model = panel.handler, panel.handler.model
    model.folder.value = SESSION or str(WORK / "session")
    model.instrument.prepare_scene()
    model.instrument.stage.wait()
    await settled(handler)
    if SESSION:
        return await go_on(handler)
    await click(handler.new_region_button)
    await click(handler.survey_button)
    await until(lambda: handler.survey.drawn is not None, f"no survey: {handler.message.value!r}")
    await settled(handler)
    await plan(handler, 40)
    figures, exposure = model.figures.value, model.plan.exposure
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
    shown = float(np.asarray(handler.last_item.xdata.data).sum())
    live = handler.live
    titles, text = sorted(live.items), live.text.value
    handler.scroll_area.scroll_to(0, 100_000)
    await call("xdotool", "mousemove", "960", "5")
    await picture("multiframe_end.png")
    blanked = model.instrument.is_blanked
    handler.scroll_area.scroll_to(0, 0)
    await enter(handler.frames_edit, "5000")
    await settled(handler)
    await click(handler.acquire_button)
    await until(lambda: region.count > 50, "the long series did not begin")
    return {
        "figures": figures,
        "current_pa": model.current_pa.value,
        "exposure": [exposure.total_dose, exposure.series_time_s, exposure.pixel_charge_e],
        "message": message,
        "again": again,
        "region": str(region.path),
        "shown": shown,
        "blanked": blanked,
        "titles": titles,
        "text": text,
        "kinds": sorted(model.instrument.ledger.totals),
    }
