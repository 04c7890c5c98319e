"""Take the pictures of the real window for the documentation: docs/pictures/swift_*.png.

``python scripts/take_screenshots.py``: five minutes, on Linux with what tests/gui/debian-packages.txt lists and the
extra ``app``. Nion Swift runs in a virtual display with the simulated microscope; dates in titles aside, pictures of
two runs show the same. Swift runs this file too, from `drive` on.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
SCREEN = (1500, 960)
SIDE, FOV_NM = 128, 4.0
LIMIT_BYTES = 400_000
GAP, LINE = 10, 24

Rectangle = tuple[int, int, int, int]


# inside Nion Swift ------------------------------------------------------------------------------------------------


def rectangle(thing: Any, size: Any) -> Rectangle:
    """Return left, top, right and bottom of a widget or of a place for images on the screen."""
    from nion.utils import Geometry

    at = thing.map_to_global(Geometry.IntPoint())
    return at.x, at.y, at.x + size.width, at.y + size.height


async def live_view(window: Any, source: Any, scan_panel: Any) -> None:
    """Run the live view, and take a picture with its images in the places for images."""
    import user

    parameters = source.get_frame_parameters(0)
    parameters.fov_nm = FOV_NM
    parameters.pixel_time_us = 40
    source.set_frame_parameters(0, parameters)
    source.set_channel_enabled(2, True)
    await user.click(user.button(scan_panel, "Scan"))

    def items() -> list[Any]:
        found = [item for item in window.document_model.data_items if item.title.startswith("Esteem Scan")]
        return [item for item in found if item.data is not None and item.data[-4:].any()]

    await user.until(lambda: len(items()) == 3, "no live view", 60)
    places = window.workspace_controller.display_panels
    for place, item in zip(places, sorted(items(), key=lambda item: str(item.title)), strict=False):
        place.set_display_panel_display_item(window.document_model.get_display_item_for_data_item(item))
    await user.click(user.button(scan_panel, "Stop"))  # after the present frame, so that the images are whole
    await user.until(lambda: not source.is_playing, "the live view did not stop")
    await aside()
    await user.picture("live_view.png")
    for place in places:
        place.set_display_panel_display_item(None)


async def aside() -> None:
    """Move the mouse out of the picture and wait until the window is drawn."""
    import asyncio

    import user

    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await asyncio.sleep(1.0)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Take the pictures in Nion Swift; return what to cut out of them."""
    import user

    panel, scan_panel = await user.show_panels(window, user.PANEL, "scan-control-panel-esteem_scan")
    handler, plan = panel.handler, panel.handler.plan
    handler.folder.value = str(Path(tempfile.gettempdir()) / "esteem" / "data")
    plan.rows.value = plan.columns.value = SIDE
    plan.fov_nm.value = FOV_NM
    await user.ready(handler)
    await live_view(window, plan.scan_source, scan_panel)
    await user.enter(handler.plan_handler.dwell_edit, "400")
    await user.enter(handler.plan_handler.wished_edit, "2000")
    await user.until(lambda: plan.wished_dose.value == 2000, "the dose was not taken")
    await user.ready(handler)
    await user.click(handler.plan_handler.current_button)
    await user.ready(handler)
    await aside()
    await user.picture("plan.png")

    await user.click(handler.acquire_button)
    await user.until(lambda: handler.session and handler.session.runner, "not started", 60)
    await user.until(lambda: handler.session.runner.status.reduced > 0.3 * SIDE**2, "no frames", 60)
    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await user.picture("forming.png")
    message = await user.ended(handler)
    if not message.startswith("Done"):
        raise RuntimeError(message)
    await aside()
    await user.picture("done.png")

    for name, edit, text in (
        ("defocus", handler.defocus_edit, "12"),
        ("back", handler.defocus_edit, "0"),
        ("rotation", handler.rotation_edit, "180"),
        ("back", handler.rotation_edit, "0"),
        ("regularization", handler.regularization_edit, "1"),
    ):
        await user.enter(edit, text)
        await aside()
        if name != "back":
            await user.picture(f"{name}.png")
    place = window.workspace_controller.display_panels[0]
    return {
        "panel": rectangle(panel.widget, panel.widget.size),
        "settings": rectangle(handler.plan_handler.scan_combo, handler.plan_handler.scan_combo.size),
        "last": rectangle(handler.keep_raw_box, handler.keep_raw_box.size),
        "phase": rectangle(place, place.canvas_size),
    }


# outside ----------------------------------------------------------------------------------------------------------


def save(picture: Any, name: str) -> None:
    """Write a picture with few colours, which is what a window has.

    Raises
    ------
    ValueError
        If it is too large for the documentation.
    """
    path = FOLDER / f"swift_{name}.png"
    picture.convert("RGB").quantize(256, dither=0).save(path, optimize=True)
    if path.stat().st_size > LIMIT_BYTES:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes")


def run(driver: Path, screen: tuple[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run Nion Swift with a driver; return what it found, and the pictures that it took."""
    import real_swift
    from PIL import Image

    work = Path(tempfile.gettempdir()) / "esteem"  # it is seen in the pictures
    work.mkdir()
    try:
        with (
            real_swift.display(work, screen) as display,
            real_swift.swift(driver, work / "swift", display) as running,
        ):
            found = running.result(300)
        return found, {path.stem: Image.open(path).convert("RGB") for path in (work / "swift").glob("*.png")}
    finally:
        shutil.rmtree(work)


def main() -> None:
    """Run Nion Swift and cut the pictures."""
    import bragg_screenshots
    import diffraction_screenshots
    import multiframe_screenshots
    import unmix_screenshots
    from PIL import Image, ImageDraw, ImageFont

    sys.path.insert(0, str(ROOT / "tests" / "gui"))
    import real_swift

    if real_swift.missing():
        raise SystemExit(f"the real window {real_swift.missing()}")
    for other in (multiframe_screenshots, unmix_screenshots, diffraction_screenshots, bragg_screenshots):
        found, taken = run(Path(other.__file__), other.SCREEN)
        other.cut(taken, found, save)
    found, taken = run(Path(__file__).resolve(), SCREEN)
    for name in ("live_view", "forming", "done"):
        save(taken[name], name)
    left, _, right, _ = found["panel"]
    save(taken["plan"].crop((left, found["settings"][1] - 30, right, found["last"][3] + 10)), "plan")

    views = {
        "done": "right values",
        "defocus": "defocus 12 nm off",
        "rotation": "rotation 180 degrees off",
        "regularization": "regularization 1 instead of 0.03",
    }
    phases = {name: taken[name].crop(found["phase"]) for name in views}
    width, height = phases["done"].size
    sheet = Image.new("RGB", (2 * width + GAP, 2 * (height + LINE) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for n, (name, text) in enumerate(views.items()):
        at = n % 2 * (width + GAP), n // 2 * (height + LINE + GAP)
        draw.text(at, text, fill="black", font=font)
        sheet.paste(phases[name], (at[0], at[1] + LINE))
    save(sheet, "views")


if __name__ == "__main__":
    main()
