"""Small files in Nion Swift: containers come and go, codecs make them small, and what is lost is shown before."""

from __future__ import annotations

from nionswift_plugin.esteem_process import class_clicks, color_maps, container_handler, registry
from nionswift_plugin.esteem_scan import menu


def run() -> None:
    """Register file types, commands and computations; Nion Swift calls this after all plug-ins are imported."""
    container_handler.register()
    registry.load(__name__)
    menu.load(__name__)
    class_clicks.listen()
    color_maps.register()


def stop() -> None:
    """Undo `run`."""
    class_clicks.remove()
    container_handler.unregister()
