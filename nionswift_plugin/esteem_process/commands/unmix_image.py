"""Find the components of the selected spectrum image, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from nionswift_plugin.esteem_process import notices, spectra_items
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Unmix Spectrum Image..."


def _unmix(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not spectra_items.is_spectrum_image(item.xdata):
        notices.tell(TITLE, "Select one spectrum image, a map with a spectrum in each pixel")
        return
    _, made = unmix_image.make(window.document_model, item)
    for result in made.values():
        window.show_display_item(window.document_model.get_display_item_for_data_item(result))
    ComputationPanel.EditComputationDialog(window, made["abundances"]).show()


COMMAND = Command(TITLE, _unmix)
