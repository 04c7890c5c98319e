"""Map an edge or a line of the selected spectrum image; the windows are typed into the dialog that opens."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from nionswift_plugin.esteem_process import notices, spectra_items
from nionswift_plugin.esteem_process.computations import background_map
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Background and Map..."


def _map(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not spectra_items.is_spectrum_image(item.xdata):
        notices.tell(TITLE, "Select one spectrum image, a map with a spectrum in each pixel")
        return
    _, made = background_map.make(window.document_model, item)
    for result in reversed(made.values()):
        window.show_display_item(window.document_model.get_display_item_for_data_item(result))
    ComputationPanel.EditComputationDialog(window, made["map"]).show()


COMMAND = Command(TITLE, _map)
