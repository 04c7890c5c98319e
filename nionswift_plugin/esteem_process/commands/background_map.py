"""Map an edge or a line of the selected spectrum image; the windows are typed into the dialog that opens."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process import notices, parameters_window, spectra_items
from nionswift_plugin.esteem_process.computations import background_map
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Background and Map..."


def _map(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not spectra_items.is_spectrum_image(item.xdata):
        notices.tell(TITLE, "Select one spectrum image, a map with a spectrum in each pixel")
        return
    computation, made = background_map.make(window.document_model, item)
    parameters_window.open_results(window, computation, made.values())


COMMAND = Command(TITLE, _map)
