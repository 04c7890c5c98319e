"""A click into a map of classes moves the point whose pattern is shown."""

from __future__ import annotations

from typing import Any

from nion.swift import DisplayPanel

from nionswift_plugin.esteem_process.computations.classify_frames import PICK

_listeners: list[Any] = []


def listen() -> None:
    """Follow clicks from now on."""
    if not _listeners:
        _listeners.append(DisplayPanel.DisplayPanelManager().image_display_clicked_event.listen(_clicked))


def remove() -> None:
    """Follow clicks no more."""
    _listeners.clear()


def _clicked(panel: Any, display_item: Any, position: Any, modifiers: Any) -> bool:
    """Move the point of a map to where was clicked; return False, so that the click does what else it does."""
    for graphic in display_item.graphics:
        if graphic.graphic_id == PICK and display_item.data_item is not None:
            ny, nx = display_item.data_item.data_shape[:2]
            place = position[0] / ny, position[1] / nx
            if all(0 <= part < 1 for part in place):
                graphic.position = place
    return False
