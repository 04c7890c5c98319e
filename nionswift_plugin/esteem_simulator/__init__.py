"""The simulated STEM of Esteem as a plug-in of Nion Swift: it registers `esteem_sim` and a panel for its settings."""

from __future__ import annotations

from esteem_sim import Configuration
from nion.swift import Workspace

from nionswift_plugin.esteem_scan import menu
from nionswift_plugin.esteem_simulator.panel import PANEL_ID, TITLE, SettingsPanel

_running: list[Configuration] = []


def configuration() -> Configuration | None:
    """Return the registered simulator; None where Swift has not started it."""
    return _running[0] if _running else None


def run() -> None:
    """Register the simulator; Nion Swift calls this after all plug-ins are imported."""
    if not _running:
        _running.append(Configuration())
        _running[0].run()
        menu.load(__name__)
        properties = {"min-width": 340, "height": 420, "instrument": _running[0].instrument}
        Workspace.WorkspaceManager().register_panel(
            SettingsPanel, PANEL_ID, TITLE, ["left", "right"], "left", properties
        )


def stop() -> None:
    """Undo `run`."""
    while _running:
        Workspace.WorkspaceManager().unregister_panel(PANEL_ID)
        _running.pop().stop()
