"""Live 4D-STEM: the phase image forms while the beam is on."""

from __future__ import annotations

from nion.swift import Workspace

from nionswift_plugin.esteem_live4d.panel import PANEL_ID, TITLE, LivePanel
from nionswift_plugin.esteem_scan import menu


def run() -> None:
    """Register panel and commands; Nion Swift calls this after all plug-ins are imported."""
    menu.load(__name__)
    Workspace.WorkspaceManager().register_panel(
        LivePanel, PANEL_ID, TITLE, ["left", "right"], "right", {"min-width": 340, "height": 640}
    )


def stop() -> None:
    """Undo `run`."""
    Workspace.WorkspaceManager().unregister_panel(PANEL_ID)
