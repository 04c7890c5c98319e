"""Show what a codec leaves of the selected data item."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process import notices
from nionswift_plugin.esteem_process.computations import compression_preview
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Compression Preview"


def _preview(window: Any) -> None:
    item = window.selected_data_item
    if item is None or not item.has_data:
        notices.tell(TITLE, "No single data item is selected; select a spectrum image or a series of them")
        return
    for made in compression_preview.make(window.document_model, item)[1:]:
        window.show_display_item(window.document_model.get_display_item_for_data_item(made))


COMMAND = Command(TITLE, _preview)
