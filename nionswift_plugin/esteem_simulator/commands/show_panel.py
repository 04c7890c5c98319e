"""Show the panel."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_scan.menu import Command
from nionswift_plugin.esteem_simulator.panel import PANEL_ID, TITLE


def _show(window: Any) -> None:
    panel = window.find_dock_panel(PANEL_ID)
    if panel is not None:
        panel.show()


COMMAND = Command(TITLE, _show)
