"""Small files in Nion Swift: containers come and go, codecs make them small, and what is lost is shown before."""

from __future__ import annotations

from nionswift_plugin.esteem_process import container_handler, registry
from nionswift_plugin.esteem_scan import menu


def run() -> None:
    """Register file types, commands and computations; Nion Swift calls this after all plug-ins are imported."""
    container_handler.register()
    registry.load(__name__)
    menu.load(__name__)


def stop() -> None:
    """Undo `run`."""
    container_handler.unregister()
