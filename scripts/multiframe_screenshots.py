"""Pictures of the multi-frame panel in the real window, for `take_screenshots`: X-ray maps of an oxide interface."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCREEN = (1280, 900)
SPECIMEN = 0
"""Number of the specimen among `esteemcore.simulate.COMPOSITIONS`: the oxide interface."""
CURRENT_PA, FRAMES = 150.0, 24
MAPS = "Ti:4440-4580 Mn:5800-6000:5500-5700+6100-6300"
LINES = "Ti:0.39:0.5 Mn:0.39:0.4"
NAMES = ("abc", "def")
LAYOUT = {
    "type": "splitter",
    "orientation": "horizontal",
    "splits": [0.5, 0.5],
    "children": [
        {
            "type": "splitter",
            "orientation": "vertical",
            "splits": [1 / 3, 1 / 3, 1 / 3],
            "children": [{"type": "image", "display_panel_id": name} for name in names],
        }
        for names in NAMES
    ],
}


# inside Nion Swift ------------------------------------------------------------------------------------------------


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Take the pictures in Nion Swift; return where the panel is."""
    import asyncio

    import user
    from nion.utils import Geometry

    (panel,) = await user.show_panels(window, "esteem-multiframe-panel")
    workspace = window.workspace_controller
    workspace.change_workspace(workspace.new_workspace(name="Series", layout=LAYOUT, workspace_id="series", index=0))
    window.find_dock_panel("data-panel").hide()
    handler, model = panel.handler, panel.handler.model
    instrument = model.instrument
    instrument.SetVal("Specimen", SPECIMEN)
    instrument.SetVal("BeamCurrent", CURRENT_PA * 1e-12)
    instrument.SetVal("SpecimenDrift.x", 0.02e-9)
    instrument.SetVal("SpecimenDrift.y", -0.01e-9)
    instrument.prepare_scene()
    await asyncio.to_thread(instrument.stage.wait)

    async def settled(limit_s: float = 60.0) -> None:
        said = f"it says {handler.message.value!r}"
        await user.until(lambda: not handler.is_busy and not model.is_busy, said, limit_s)

    async def shot(name: str, scroll: int = 0) -> None:
        handler.scroll_area.scroll_to(0, scroll)
        await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
        await asyncio.sleep(1.0)
        await user.picture(f"{name}.png")

    def show(*titles: str) -> None:
        items = {item.title: item for item in window.document_model.data_items}
        for place, title in zip(workspace.display_panels, titles, strict=True):
            shown = window.document_model.get_display_item_for_data_item(items[title]) if title in items else None
            place.set_display_panel_display_item(shown)

    model.folder.value = str(Path(tempfile.gettempdir()) / "esteem" / "session")
    for slot, detector in enumerate(model.detectors):
        getattr(model, f"slot{slot}_chosen").value = detector.name in ("HAADF", "Esteem EDS Detector")
    await settled()
    await user.click(handler.new_region_button)
    await user.click(handler.survey_button)
    await user.until(lambda: handler.survey.drawn is not None, f"no survey: {handler.message.value!r}")
    await settled()
    for edit, text in (
        (handler.height_edit, "3.2"), (handler.width_edit, "3.2"), (handler.pixel_edit, "0.05"),
        (handler.dwell_edit, "100"), (handler.frames_edit, str(FRAMES)),
    ):  # fmt: skip
        await user.enter(edit, text)
    model.xray_lines.value, model.motifs.value = LINES, 64
    model.total_dose.value = 2e7
    handler.live.maps.value = MAPS
    await settled()
    await shot("multiframe_plan")
    await shot("multiframe_costs", 470)
    await user.click(handler.acquire_button)
    await user.until(lambda: handler.is_running.value, f"not started: {handler.message.value!r}")
    await user.until(lambda: handler.live.state is not None and handler.live.state.frames >= 16, "no frames", 120)
    show("Survey", "HAADF, newest frame", "Aligned mean", "Map Ti", "Map Mn", "SNR of Mn against dose")
    await user.picture("multiframe_forming.png")
    await settled(120)
    if not handler.message.value.startswith("Done"):
        raise RuntimeError(handler.message.value)
    show("Aligned mean", "Map Ti", "Map Mn", "Drift", "SNR of Mn against dose", "Components against dose")
    await shot("multiframe_done", 100_000)
    at, size = panel.widget.map_to_global(Geometry.IntPoint()), panel.widget.size
    return {"panel": [at.x, at.y - 18, at.x + size.width, at.y + size.height], "text": handler.live.text.value}


# outside ----------------------------------------------------------------------------------------------------------


def cut(taken: dict[str, Any], found: dict[str, Any], save: Callable[[Any, str], None]) -> None:
    """Cut the pictures and save them."""
    from PIL import Image

    for name in ("multiframe_forming", "multiframe_done"):
        save(taken[name], name)
    parts = [taken[name].crop(found["panel"]) for name in ("multiframe_plan", "multiframe_costs")]
    sheet = Image.new("RGB", (2 * parts[0].width + 10, parts[0].height), "white")
    for n, part in enumerate(parts):
        sheet.paste(part, (n * (part.width + 10), 0))
    save(sheet, "multiframe_plan")
