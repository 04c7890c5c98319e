"""Find the components of the selected spectrum image, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel
from nion.swift.model import Graphics

from nionswift_plugin.esteem_process import notices, spectra_items
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Unmix Spectrum Image..."


def unmix(window: Any, title: str, **chosen: Any) -> None:
    """Unmix what is selected: a spectrum image, its selected graphic if any, and an image as its mask if any."""
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
        return
    inside = [
        graphic
        for graphic in model.get_display_item_for_data_item(spectra[0]).selected_graphics
        if graphic.has_attribute(Graphics.GraphicAttributeEnum.TWO_DIMENSIONAL)
    ]
    if len(inside) > 1:
        notices.tell(title, "Select one graphic at most; only what it encloses is unmixed")
        return
    _, made = unmix_image.make(
        model, spectra[0], region=inside[0] if inside else None, mask=masks[0] if masks else None, **chosen
    )
    for result in made.values():
        window.show_display_item(model.get_display_item_for_data_item(result))
    ComputationPanel.EditComputationDialog(window, made["abundances"]).show()


def _places(spectra: list[Any]) -> tuple[int, ...] | None:
    return tuple(spectra[0].xdata.data_shape[:2]) if spectra else None


def _unmix(window: Any) -> None:
    unmix(window, TITLE)


COMMAND = Command(TITLE, _unmix)
