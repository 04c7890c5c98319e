"""What the acquisition panels of Esteem share: devices, scan plan, one lock, one safe end, binding to data items."""

from __future__ import annotations

from nionswift_plugin.esteem_scan import menu


def run() -> None:
    """Make the menu; Nion Swift calls this after all plug-ins are imported."""
    menu.load(__name__)
    menu.install()


def stop() -> None:
    """Undo `run`."""
    menu.remove()
