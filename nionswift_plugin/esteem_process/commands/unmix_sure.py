"""Look at the components of the selected spectrum image before they are found, with how sure they are."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process.commands import unmix_image
from nionswift_plugin.esteem_process.unmix_window import UnmixWindow
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Unmix with Uncertainty..."


def open_window(window: Any) -> UnmixWindow | None:
    """Open the window, how sure ticked."""
    return unmix_image.open_window(window, TITLE, is_sure=True)


def _open(window: Any) -> None:
    open_window(window)


COMMAND = Command(TITLE, _open)
