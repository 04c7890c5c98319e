"""Multi-frame spectrum imaging: plan the dose, acquire, see when it is enough."""

from __future__ import annotations

from nion.swift import Workspace

from nionswift_plugin.esteem_multiframe import hidden_notice
from nionswift_plugin.esteem_multiframe.panel import PANEL_ID, TITLE, MultiframePanel
from nionswift_plugin.esteem_scan import menu


def run() -> None:
    """Register panel and commands; Nion Swift calls this after all plug-ins are imported."""
    menu.load(__name__)
    hidden_notice.register()
    Workspace.WorkspaceManager().register_panel(
        MultiframePanel, PANEL_ID, TITLE, ["left", "right"], "right", {"min-width": 380, "height": 640}
    )


def stop() -> None:
    """Undo `run`."""
    hidden_notice.unregister()
    Workspace.WorkspaceManager().unregister_panel(PANEL_ID)
