"""Look at the components of the selected spectrum image before they are found."""

from __future__ import annotations

from typing import Any

from nion.swift.model import Graphics

from nionswift_plugin.esteem_process import notices, spectra_items
from nionswift_plugin.esteem_process.unmix_window import UnmixWindow
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Unmix Spectrum Image..."


def open_window(window: Any, title: str = TITLE, is_sure: bool = False) -> UnmixWindow | None:
    """Open the window for what is selected: a spectrum image, its selected graphic and an image as its mask, if any."""
    model = window.document_model
    items = [item for item in window.selected_data_items if item.xdata is not None]
    spectra = [item for item in items if spectra_items.is_spectrum_image(item.xdata)]
    masks = [item for item in items if item not in spectra and item.xdata.data_shape == _places(spectra)]
    if len(spectra) != 1 or len(masks) > 1 or len(masks) + 1 < len(items):
        notices.tell(
            title,
            "Select one spectrum image, a map with a spectrum in each pixel, and at most one image of the same pixels, "
            "zero where to leave out",
        )
        return None
    inside = [
        graphic
        for graphic in model.get_display_item_for_data_item(spectra[0]).selected_graphics
        if graphic.has_attribute(Graphics.GraphicAttributeEnum.TWO_DIMENSIONAL)
    ]
    if len(inside) > 1:
        notices.tell(title, "Select one graphic at most; only what it encloses is unmixed")
        return None
    region, mask = inside[0] if inside else None, masks[0] if masks else None
    return UnmixWindow(window, title.rstrip("."), spectra[0], region, mask, is_sure)


def _places(spectra: list[Any]) -> tuple[int, ...] | None:
    return tuple(spectra[0].xdata.data_shape[:2]) if spectra else None


def _open(window: Any) -> None:
    open_window(window)


COMMAND = Command(TITLE, _open)
