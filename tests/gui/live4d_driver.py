"""Press Acquire with a real mouse click, wait for the phase image, and refocus it; then let Nion's simulator scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from nion.instrumentation import HardwareSource
from user import PANEL, WORK, button, call, click, ended, enter, picture, ready, show_panels, until

OTHER = "usim_scan_device"


def charges(handler: Any) -> dict[str, float]:
    """Return what our instrument has exposed so far."""
    totals: dict[str, float] = handler.plan.instrument.ledger.totals
    return totals


async def other_live_view(window: Any, panel: Any) -> float:
    """Press Scan and Stop in the panel of Nion's simulator; return the contrast of its image."""
    source = HardwareSource.HardwareSourceManager().get_hardware_source_for_hardware_source_id(OTHER)

    def image() -> Any:
        items = [item for item in window.document_model.data_items if item.title.startswith("uSim Scan")]
        return np.array(items[0].data) if items and items[0].data is not None else None

    await click(button(panel, "Scan"))
    await until(lambda: image() is not None and np.all(np.ptp(image(), axis=1) > 0), "no image")
    await click(button(panel, "Stop"))
    await until(lambda: not source.is_playing, "it did not stop")
    return float(np.std(image()))


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what the panel says at the end, and what the images are."""
    panel, other = await show_panels(window, PANEL, f"scan-control-panel-{OTHER}")
    handler = panel.handler
    handler.folder.value = str(WORK / "raw")
    handler.plan.rows.value = handler.plan.columns.value = 128
    handler.plan.fov_nm.value = 4.0
    await ready(handler)
    await click(handler.acquire_button)
    message = await ended(handler)
    await enter(handler.defocus_edit, "12")

    def entry() -> dict[str, Any]:
        found: dict[str, Any] = handler.images.item("ssb").metadata["esteem"]
        return found

    def aberrations() -> dict[str, float]:
        return entry()["provenance"]["parameters"]["geometry"]["aberrations"] or {}

    await until(lambda: aberrations().get("C10") == -12, f"the image did not follow: {aberrations()}")
    exposed = charges(handler)
    contrast = await other_live_view(window, other)
    await call("xdotool", "mousemove", "960", "5")
    await picture("live4d.png")
    names = ("ssb", "icom", "bf", "adf")
    return {
        "message": message,
        "units": {name: handler.images.item(name).intensity_calibration.units for name in names},
        "displayed": sum(panel.display_item is not None for panel in window.workspace_controller.display_panels),
        "blanked": handler.plan.instrument.is_blanked,
        "offered": [source.hardware_source_id for source in handler.plan.scan_sources],
        "used": entry()["plan"]["scan_device"],
        "other_contrast": contrast,
        "charged_for_other": charges(handler) != exposed,
    }
