"""Find the components of the selected spectrum image and how sure they are, and open the parameters."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_process.commands import unmix_image
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Unmix with Uncertainty..."


def _unmix(window: Any) -> None:
    unmix_image.unmix(window, TITLE, uncertainty=True)


COMMAND = Command(TITLE, _unmix)
