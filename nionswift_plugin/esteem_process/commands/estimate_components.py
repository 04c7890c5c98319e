"""Count the components of the selected spectrum image, and open the parameters."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process import notices, parameters_window, spectra_items
from nionswift_plugin.esteem_process.computations import estimate_components
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Estimate Components..."


def _estimate(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not spectra_items.is_spectrum_image(item.xdata):
        notices.tell(TITLE, "Select one spectrum image, a map with a spectrum in each pixel")
        return
    computation, made = estimate_components.make(window.document_model, item)
    parameters_window.open_results(window, computation, made.values())


COMMAND = Command(TITLE, _estimate)
