"""Register the selected series, and open its parameters."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process import notices, parameters_window
from nionswift_plugin.esteem_process.computations import align_series
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Align Multi-Frame SI..."


def _align(window: Any) -> None:
    found: dict[str, Any] = {}
    for item in window.selected_data_items:
        xdata = item.xdata
        if xdata is None or not xdata.is_sequence:
            continue
        kind = {(0, 2): "images", (2, 1): "spectra"}.get(
            (xdata.collection_dimension_count, xdata.datum_dimension_count)
        )
        if kind is None or kind in found:
            found.clear()
            break
        found[kind] = item
    if not found:
        notices.tell(
            TITLE, "Select a sequence of images, a sequence of spectrum images, or one of each of the same frames"
        )
        return
    computation, made = align_series.make(window.document_model, found.get("images"), found.get("spectra"))
    parameters_window.open_results(window, computation, made.values())


COMMAND = Command(TITLE, _align)
