"""Choose a specimen and a range of losses in the simulator's panel, look at a spectrum, and take a spectrum image."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from user import WORK, call, choose, click, enter, picture, show_panels, until

PANELS = ("esteem-simulator-panel", "camera-control-panel-esteem_eels_camera", "esteem-multiframe-panel")


def views(window: Any, source_id: str) -> dict[int, Any]:
    """Return the data items of a live view, by their number of dimensions."""
    found = {}
    for item in window.document_model.data_items:
        about = item.metadata.get("hardware_source", {})
        if item.xdata is not None and about.get("hardware_source_id") == source_id:
            found[len(item.xdata.data_shape)] = item
    return found


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
    for slot, name in enumerate(names):
        getattr(model, f"slot{slot}_chosen").value = name in ("HAADF", "Esteem EELS Camera")
    for name, value in (("dwell_us", 500.0), ("frames", 2), ("height_nm", 1.6), ("width_nm", 1.6)):
        getattr(model, name).value = value
    await until(lambda: not model.is_busy, "no figures")
    await click(multiframe.handler.acquire_button)
    await until(lambda: multiframe.handler.is_running.value, f"not started: {multiframe.handler.message.value!r}")
    await until(lambda: not multiframe.handler.is_busy, "it did not end", 60)
    await call("xdotool", "mousemove", "960", "5")
    await asyncio.sleep(1.0)
    await picture("spectra_end.png")
    stored = multiframe.handler.region.frame(1)
    return {
        "specimen": instrument.stage.sample.name,
        "offset": axis.offset,
        "unit": axis.units,
        "shape": list(cameras[0].data_shape),
        "counts": float(spectrum.sum()),
        "oxygen": float(spectrum[round((540 - 430) / axis.scale)] / spectrum[round((520 - 430) / axis.scale)]),
        "detectors": names,
        "message": multiframe.handler.message.value,
        "stored": {name: list(values.shape) for name, values in stored.items()},
        "blanked": instrument.is_blanked,
    }
