"""Choose a specimen and a range of losses in the simulator's panel, look at a spectrum, take an image of spectra.

Then a series records EELS and X-rays together, another one goes on while the panel is hidden, a stored one is aligned,
the image of spectra is unmixed, and a 4D-STEM scan classified.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import diffraction_steps
import numpy as np
import series_steps
import unmix_steps
from nion.swift import NotificationDialog
from user import WORK, button, call, choose, click, enter, picture, show_panels, until

PANELS = ("esteem-simulator-panel", "camera-control-panel-esteem_eels_camera", "esteem-multiframe-panel")

MAPS = "O:530-560:480-525 La@eds:4500-4800"


def views(window: Any, source_id: str) -> dict[int, Any]:
    """Return the data items of a live view, by their number of dimensions."""
    found = {}
    for item in window.document_model.data_items:
        about = item.metadata.get("hardware_source", {})
        if item.xdata is not None and about.get("hardware_source_id") == source_id:
            found[len(item.xdata.data_shape)] = item
    return found


async def hide_and_abort(panel: Any) -> list[str]:
    """Hide the panel while frames come in, and abort by the notification; return what it and the panel say."""
    handler = panel.handler
    await enter(handler.frames_edit, "1000")
    await until(lambda: not handler.model.is_busy, "no figures")
    await click(handler.acquire_button)
    await until(lambda: handler.message.value.startswith("Frame 1 "), f"no frame: {handler.message.value!r}")
    panel.hide()
    await until(lambda: NotificationDialog.notification_dialog is not None, "no notification")
    await asyncio.sleep(1.5)
    await picture("spectra_hidden.png")
    (notice,) = NotificationDialog.notification_dialog.notifications.items
    window = NotificationDialog.notification_dialog.window._document_window
    await click(button(SimpleNamespace(widget=window.root_widget), "Abort"))
    await until(lambda: not handler.is_busy, "it was not aborted")
    panel.show()
    return [notice.text, handler.message.value]


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Return what was seen."""
    from nionswift_plugin import esteem_simulator

    settings, _, multiframe = await show_panels(window, *PANELS)
    configuration = esteem_simulator.configuration()
    instrument, eels = configuration.instrument, configuration.eels_source
    await choose(settings.handler.specimen_combo, "SrTiO3 / La")
    await until(lambda: instrument.stage.sample.name == "oxide_interface", "no other specimen was chosen")
    await enter(settings.handler.offset_edit, "430")
    await until(lambda: instrument.GetVal("EELS_Offset") == 430, "the spectrum was not moved")
    await enter(settings.handler.current_edit, "2000")
    await until(lambda: round(instrument.current_pa) == 2000, "the current was not set")
    instrument.prepare_scene()
    await until(lambda: "ready" in instrument.stage.status, "no scene")
    eels.start_playing()
    await until(lambda: len(views(window, eels.hardware_source_id)) == 2, "no live view")
    panels = window.workspace_controller.display_panels
    for panel, item in zip(panels, views(window, eels.hardware_source_id).values(), strict=False):
        panel.set_display_panel_display_item(window.document_model.get_display_item_for_data_item(item))
    await asyncio.sleep(1.5)
    await picture("spectra_live.png")
    eels.stop_playing()
    await until(lambda: not eels.is_playing, "the live view did not stop")
    parameters = configuration.scan_source.get_current_frame_parameters()
    parameters.pixel_size, parameters.fov_nm = (24, 24), 2.4
    chosen = eels.get_current_frame_parameters()
    chosen.exposure_ms = 1.0
    _, cameras = await asyncio.to_thread(
        configuration.scan_source.grab_synchronized,
        scan_frame_parameters=parameters,
        camera=eels,
        camera_frame_parameters=chosen,
    )
    axis = cameras[0].dimensional_calibrations[-1]
    spectrum = np.asarray(cameras[0].data).sum(axis=(0, 1, 2))
    model = multiframe.handler.model
    model.folder.value = str(WORK / "session")
    names = [detector.name for detector in model.detectors]
    handler = multiframe.handler
    for name in ("Esteem EDS Detector", "Esteem EELS Camera"):
        await click(getattr(handler, f"slot{names.index(name)}_box"))
    for edit, text in (("height", "1.6"), ("width", "1.6"), ("dwell", "500"), ("frames", "2"), ("maps", MAPS)):
        await enter(getattr(handler, f"{edit}_edit"), text)
    await enter(handler.dwell_edit, "1e-9")
    await until(lambda: handler.dwell_edit.text == "500", f"the dwell time reads {handler.dwell_edit.text!r}")
    refused = handler.message.value
    await until(lambda: not model.is_busy, "no figures")
    charge = instrument.ledger.totals.get("acquisition", 0.0)
    await click(handler.acquire_button)
    await until(lambda: handler.is_running.value, f"not started: {handler.message.value!r}")
    await until(lambda: not handler.is_busy, f"it did not end: {handler.message.value!r}")
    charge = instrument.ledger.totals["acquisition"] - charge
    message, stored, titles = handler.message.value, handler.region.frame(1), sorted(handler.live.items)
    await call("xdotool", "mousemove", "960", "5")
    await asyncio.sleep(1.0)
    await picture("spectra_end.png")
    hidden = await hide_and_abort(multiframe)
    return {
        "specimen": instrument.stage.sample.name,
        "offset": axis.offset,
        "unit": axis.units,
        "shape": list(cameras[0].data_shape),
        "counts": float(spectrum.sum()),
        "oxygen": float(spectrum[round((540 - 430) / axis.scale)] / spectrum[round((520 - 430) / axis.scale)]),
        "detectors": names,
        "refused": refused,
        "message": message,
        "charge": charge,
        "titles": titles,
        "hidden": hidden,
        "series": await series_steps.run(window),
        "unmixed": await unmix_steps.run(window, cameras[0]),
        "diffraction": await diffraction_steps.run(window),
        "stored": {name: list(values.shape) for name, values in stored.items()},
        "blanked": instrument.is_blanked,
    }
