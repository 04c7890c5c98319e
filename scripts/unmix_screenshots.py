"""Pictures of unmixing in the real window, for `take_screenshots`: X-rays of a needle, before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCREEN = (1400, 1000)
SIDE, PIXEL_NM, COUNTS = 32, 2.4, 100.0
KEV = (0.3, 9.02)
ADDED = 4
"""Channels that are added up to one."""
ELEMENTS = "Ni Cr Si"
COLUMNS = ("abundances", "spectra", "spectra_sigma")
COMPONENTS = 3
SEEN_KEV = 2.5
"""Plots of spectra end here: the lines of all three elements have room for their names below it."""


def _column(names: list[str]) -> dict[str, Any]:
    children = [{"type": "image", "display_panel_id": name} for name in names]
    return {"type": "splitter", "orientation": "horizontal", "splits": [1 / 3] * 3, "children": children}


LAYOUT = {
    "type": "splitter",
    "orientation": "vertical",
    "splits": [0.26, 0.37, 0.37],
    "children": [_column([f"{name}{k}" for k in range(COMPONENTS)]) for name in COLUMNS],
}


# inside Nion Swift ------------------------------------------------------------------------------------------------


def needle() -> tuple[Any, Any]:
    """Return X-rays of a needle as Nion Swift has them, and where there is matter."""
    import numpy as np
    from nion.data import Calibration, DataAndMetadata

    from esteemcore import simulate

    specimen, detector = simulate.composition("needle"), simulate.EdsDetector()
    content = specimen.maps((SIDE, SIDE), pixel_nm=PIXEL_NM)
    sampler = simulate.EdsSampler(specimen, detector, seed=1)
    matter = content.thickness_nm.sum(axis=1).reshape(SIDE, SIDE) > 1
    electrons = COUNTS / sampler.expected(content, 1.0).sum(axis=1)[matter.ravel()].mean()
    energy = detector.energy_kev
    first, last = (int(n) for n in np.searchsorted(energy, KEV))
    last -= (last - first) % ADDED
    counts = sampler.events(content, electrons, (SIDE, SIDE)).to_dense()[..., first:last]
    counts = counts.reshape(SIDE, SIDE, -1, ADDED).sum(axis=-1, dtype=np.uint16)
    step = float(energy[1] - energy[0])
    axis = Calibration.Calibration(float(energy[first]) + (ADDED - 1) / 2 * step, ADDED * step, "keV")
    place = Calibration.Calibration(0.0, PIXEL_NM, "nm")
    spectra = DataAndMetadata.new_data_and_metadata(
        counts,
        intensity_calibration=Calibration.Calibration(0.0, 1.0, "counts"),
        dimensional_calibrations=[place, place, axis],
        data_descriptor=DataAndMetadata.DataDescriptor(False, 2, 1),
    )
    mask = DataAndMetadata.new_data_and_metadata(matter.astype(np.float32), dimensional_calibrations=[place, place])
    return spectra, mask


async def preview(window: Any, item: Any, mask: Any) -> tuple[int, int, int, int]:
    """Take a picture of the window before an unmixing; return where it lies."""
    import asyncio

    import user
    from nion.utils import Geometry

    from nionswift_plugin.esteem_process.unmix_window import UnmixWindow

    shown = UnmixWindow(window, "Unmix Spectrum Image", item, mask=mask)
    await user.until(lambda: not shown.is_running.value, "no preview", 60)
    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await asyncio.sleep(2.0)
    await user.picture("unmix_preview.png")
    first, last = (
        shown.noise_box.map_to_global(Geometry.IntPoint()),
        shown.unmix_button.map_to_global(Geometry.IntPoint()),
    )
    right, bottom = last.x + shown.picture_image.size.width, last.y + shown.unmix_button.size.height
    shown.close_window()
    await asyncio.sleep(1.0)
    return max(first.x - 72, 0), max(first.y - 62, 0), right + 32, bottom + 18


async def drive(app: Any, window: Any) -> dict[str, Any]:
    """Look at what will be unmixed, unmix and show each component in a row; return where the first window was."""
    import asyncio

    import numpy as np
    import user
    from nion.swift.model import DataItem

    from nionswift_plugin.esteem_process.computations import unmix_image

    model, workspace = window.document_model, window.workspace_controller
    workspace.change_workspace(workspace.new_workspace(name="Unmix", layout=LAYOUT, workspace_id="unmix", index=0))
    for panel in list(workspace.dock_panels):
        panel.hide()
    await user.call("wmctrl", "-r", "Nion Swift", "-b", "remove,maximized_vert,maximized_horz")
    await user.call("wmctrl", "-r", "Nion Swift", "-b", "add,maximized_vert,maximized_horz")
    items = []
    for xdata, title in zip(needle(), ("Needle", "Matter"), strict=True):
        item = DataItem.new_data_item(xdata)
        item.title = title
        model.append_data_item(item)
        items.append(item)
    place = await preview(window, *items)
    computation, made = unmix_image.make(model, items[0], mask=items[1], uncertainty=True, elements=ELEMENTS)
    await user.until(
        lambda: computation.error_text or made["spectra_sigma"].xdata is not None, "the image was not unmixed", 270
    )
    if computation.error_text or made["spectra"].data_shape[0] != COMPONENTS:
        raise RuntimeError(computation.error_text or f"there are {made['spectra'].data_shape[0]} components")
    places = iter(workspace.display_panels)
    last = made["spectra"].dimensional_calibrations[1].convert_from_calibrated_value(SEEN_KEV)
    for name in COLUMNS:
        first = model.get_display_item_for_data_item(made[name])
        for k in range(COMPONENTS):
            shown = first if k == 0 else model.get_display_item_copy_new(first)
            channel, values = shown.display_data_channels[0], made[name].data[k]
            channel.sequence_index = k
            if name == COLUMNS[0]:
                channel.display_limits = (0.0, float(np.nanmax(values)))
            else:
                shown.set_display_property("left_channel", 0)
                shown.set_display_property("right_channel", int(last))
            next(places).set_display_panel_display_item(shown)
    await user.call("xdotool", "mousemove", str(SCREEN[0] // 2), "2")
    await asyncio.sleep(2.0)
    await user.picture("unmix.png")
    return {"preview": place}


# outside ----------------------------------------------------------------------------------------------------------


def cut(taken: dict[str, Any], found: dict[str, Any], save: Callable[[Any, str], None]) -> None:
    """Save the pictures."""
    save(taken["unmix"], "unmix")
    save(taken["unmix_preview"].crop(tuple(found["preview"])), "unmix_preview")
