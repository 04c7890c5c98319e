"""Compress a spectrum image by menu, mouse and keyboard, take it out of the project, restore it, and compare."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from nion.swift.model import DataItem
from nion.ui import Declarative
from user import WORK, call, choose, click, enter, environment, picture, show_panels, until

from nionswift_plugin.esteem_process import import_window, store_window
from nionswift_plugin.esteem_scan import menu

SHAPE = (128, 128, 1024)


def windows_of(kind: type[Declarative.WindowHandler]) -> list[Any]:
    """Return a list that every window of this kind is put into when it opens."""
    found: list[Any] = []
    run = kind.run

    def noted(handler: Any, *args: Any, **options: Any) -> None:
        run(handler, *args, **options)
        found.append(handler)

    kind.run = noted  # type: ignore[method-assign]
    return found


def spectrum_image() -> DataAndMetadata.DataAndMetadata:
    """Return 64 MB of counts whose spectra fall with the energy and have an edge at 355 eV."""
    energy = 100.0 + 0.5 * np.arange(SHAPE[2])
    mean = 2e6 * energy**-2.0 + np.where(energy > 355, 8 * np.exp(-(energy - 355) / 60), 0)
    thickness = np.linspace(0.5, 1.5, SHAPE[1])[:, None]
    data = np.random.default_rng(2).poisson(np.broadcast_to(mean * thickness, SHAPE)).astype(np.float32)
    step = Calibration.Calibration(0.0, 0.2, "nm")
    return DataAndMetadata.new_data_and_metadata(
        data,
        dimensional_calibrations=[step, step, Calibration.Calibration(100.0, 0.5, "eV")],
        data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1),
    )


async def command(title: str) -> None:
    """Choose a command of the menu Esteem by keyboard: to its left is Window, the menu before the last one."""
    titles = [entry.title for entry in menu.commands()]
    await call("xdotool", "key", "alt")
    await asyncio.sleep(0.3)
    await call("xdotool", "key", "--delay", "60", "Left", "Left", "Left", "Down", *["Down"] * titles.index(title))
    await asyncio.sleep(0.3)
    await picture(f"store_menu_{title.partition(' ')[0].lower()}.png")
    await call("xdotool", "key", "Return")


async def compress(window: Any, path: Path, name: str) -> str:
    """Type the name of a file, press Compress, and return what the window says at the end."""
    await enter(window.path_edit, str(path))
    await until(lambda: window.path.value == str(path), f"the path is {window.path.value!r}")
    await click(window.store_button)
    await until(lambda: window.is_running.value or path.exists(), f"not started: {window.message.value!r}")
    await picture(f"store_{name}_running.png")
    await until(lambda: window.is_idle.value, f"it says {window.message.value!r}", 100)
    await asyncio.sleep(0.3)
    await picture(f"store_{name}.png")
    return str(window.message.value)


async def restore(path: Path) -> None:
    """Choose a file in the dialog of Restore from Container...; while it is open, Nion's thread stands still."""
    steps = (
        "for k in $(seq 80); do xdotool search --onlyvisible --name '^Restore from' && break; sleep 0.1; done; "
        f"sleep 0.7; xdotool key ctrl+a type '{path}'; sleep 0.5; xdotool key Return"
    )
    with (WORK / "restore.log").open("w") as log:
        hands = subprocess.Popen(["sh", "-c", steps], env=environment(), stdout=log, stderr=log)
        await command("Restore from Container...")
        await asyncio.to_thread(hands.wait, 30)


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what the windows say, and how what came back differs from what was there."""
    shown, imports = windows_of(store_window.StoreWindow), windows_of(import_window.ImportWindow)
    await show_panels(window)
    model = window.document_model
    xdata = spectrum_image()
    item = DataItem.new_data_item(xdata)
    item.title = "EELS of an interface"
    model.append_data_item(item)
    display_item = model.get_display_item_for_data_item(item)
    window.workspace_controller.display_panels[0].set_display_panel_display_item(display_item)
    window.select_display_items_in_data_panel([display_item])
    window.data_panel_focused()
    await asyncio.sleep(1)
    await command("Compress to Container...")
    await until(lambda: shown, "the window did not open")
    store = shown[0]
    await asyncio.sleep(0.5)
    result: dict[str, Any] = {"suggested": store.path.value}

    await choose(store.method_box, "Bounded")
    await until(lambda: store.is_bounded.value, "no bound")
    await enter(store.bound_edit, "0.25")
    await enter(store.gain_edit, "1")
    result["bounded"] = await compress(store, WORK / "bounded.esteem", "bounded")
    await choose(store.method_box, "Coarse")
    await until(lambda: store.is_coarse.value, "no blocks")
    await enter(store.blocks_edit, "100:340:16, 340:420:1, 420:612:16")
    await enter(store.components_edit, "5")
    result["coarse"] = await compress(store, WORK / "coarse.esteem", "coarse")
    await choose(store.method_box, "Automatic")
    await until(lambda: not store.is_lossy.value, "still a loss")
    path = WORK / "exact.esteem.zip"
    result["exact"] = await compress(store, path, "exact")
    await click(store.remove_button)
    await until(lambda: not model.data_items, f"it says {store.message.value!r}")
    await asyncio.sleep(0.3)
    await picture("store_removed.png")
    result["removed"] = store.message.value
    store.close_window()
    await asyncio.sleep(0.5)

    await restore(path)
    await until(lambda: imports or model.data_items, "nothing is imported")
    seen: set[int] = set()
    await until(lambda: seen.add(imports[0].progress.value) or model.data_items, "nothing came")
    (found,) = model.data_items
    await asyncio.sleep(1)
    await picture("store_restored.png")
    values = np.asarray(found.xdata.data)
    return result | {
        "while_importing": sorted(seen),
        "windows": len(imports),
        "title": found.title,
        "differ": int(np.count_nonzero(values != xdata.data)),
        "shape": list(values.shape),
        "units": [axis.units for axis in found.dimensional_calibrations],
        "first_ev": found.dimensional_calibrations[2].offset,
        "stored_bytes": path.stat().st_size,
    }
