"""Begin an acquisition by mouse and leave it running; note on disk what becomes of the beam."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from user import PANEL, WORK, click, picture, ready, show_panels, until


def watch_beam(instrument: Any) -> Any:
    """Write a line for each change of the beam, also when the window is gone; return the listener."""

    def changed(name: str) -> None:
        if name == "is_blanked":
            state = instrument.last_safe_state
            line = {
                "is_blanked": instrument.is_blanked,
                "is_scanning": instrument.scan_device.is_scanning,
                "reason": state.reason,
                "time": state.time,
            }
            with (WORK / "beam.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    return instrument.property_changed_event.listen(changed)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return while the acquisition goes on."""
    (panel,) = await show_panels(window, PANEL)
    handler = panel.handler
    handler.folder.value = str(WORK / "raw")
    handler.plan.rows.value = handler.plan.columns.value = 256
    await ready(handler)
    app.beam_listener = watch_beam(handler.plan.instrument)
    await click(handler.acquire_button)
    await until(lambda: handler.session and handler.session.runner, "not started")
    await until(lambda: handler.session.runner.status.acquired, "no frames")
    await asyncio.sleep(1.5)
    status = handler.session.runner.status
    await picture("quit.png")
    return {
        "is_running": handler.session.is_running,
        "is_blanked": handler.plan.instrument.is_blanked,
        "acquired": status.acquired,
        "message": handler.message.value,
    }
