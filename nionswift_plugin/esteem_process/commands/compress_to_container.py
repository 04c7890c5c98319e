"""Write the selected data items to a container, with a codec."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process import notices
from nionswift_plugin.esteem_process.store_window import StoreWindow
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Compress to Container..."


def open_window(window: Any) -> StoreWindow | None:
    """Open the window in which the selected data items are stored."""
    items = [item for item in window.selected_data_items if item.has_data]
    if not items:
        notices.tell(TITLE, "No data item is selected; select an image, a spectrum or a spectrum image")
        return None
    return StoreWindow(window, items)


def _open(window: Any) -> None:
    open_window(window)


COMMAND = Command(TITLE, _open)
