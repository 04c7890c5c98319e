"""Look at a spectrum image in the window before an unmixing, and unmix it by mouse, with its uncertainty."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from user import call, click, enter, picture, until

SHOWN = ("abundances", "spectra", "abundances_sigma", "spectra_sigma")


async def run(window: Any, taken: Any) -> dict[str, Any]:
    """Unmix what Nion took (y, x, 1, energy), show the results, and return what preview and results tell."""
    from nion.data import DataAndMetadata
    from nion.swift.model import DataItem

    from nionswift_plugin.esteem_process.computations import unmix_image
    from nionswift_plugin.esteem_process.unmix_window import NOTHING, UnmixWindow

    model, axes = window.document_model, taken.dimensional_calibrations
    image = DataItem.new_data_item(
        DataAndMetadata.new_data_and_metadata(
            np.asarray(taken.data)[:, :, 0],
            dimensional_calibrations=[*axes[:2], axes[-1]],
            data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1),
        )
    )
    image.title = "Interface"
    model.append_data_item(image)
    shown = UnmixWindow(window, "Unmix Spectrum Image", image)
    await until(lambda: shown.picture.value is not NOTHING, f"no preview: {shown.message.value!r}")
    preview = shown.message.value
    await enter(shown.components_edit, "2")
    await click(shown.sure_box)
    await until(lambda: shown.components.value == 2 and shown.is_sure.value, "number and box were not taken")
    before = len(model.computations)
    await click(shown.unmix_button)
    await until(lambda: len(model.computations) > before, f"not unmixed: {shown.message.value!r}")
    computation = model.computations[-1]
    made = dict(zip((*unmix_image.TITLES, *unmix_image.SIGMA), computation.output_items, strict=True))
    last = made[SHOWN[-1]]
    await until(lambda: computation.error_text or last.xdata is not None, "the image was not unmixed")
    await call("wmctrl", "-c", ": Parameters")
    for panel, name in zip(window.workspace_controller.display_panels, SHOWN, strict=False):
        panel.set_display_panel_display_item(model.get_display_item_for_data_item(made[name]))
    await asyncio.sleep(1.5)
    await picture("spectra_unmixed.png")
    larger = made["abundances"].data.argmax(axis=0)[None]
    amounts, sigma = (np.take_along_axis(made[name].data, larger, axis=0) for name in (SHOWN[0], SHOWN[2]))
    return {
        "preview": preview,
        "error": computation.error_text,
        "shapes": {name: list(made[name].data_shape) for name in SHOWN},
        "title": last.title,
        "unit": made["spectra"].dimensional_calibrations[-1].units,
        "above_sigma": float(np.median(amounts / sigma)),
    }
