"""Count the components of the selected spectrum image, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from nionswift_plugin.esteem_process import notices, spectra_items
from nionswift_plugin.esteem_process.computations import estimate_components
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Estimate Components..."


def _estimate(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not spectra_items.is_spectrum_image(item.xdata):
        notices.tell(TITLE, "Select one spectrum image, a map with a spectrum in each pixel")
        return
    _, made = estimate_components.make(window.document_model, item)
    window.show_display_item(window.document_model.get_display_item_for_data_item(made["scree"]))
    ComputationPanel.EditComputationDialog(window, made["scree"]).show()


COMMAND = Command(TITLE, _estimate)
