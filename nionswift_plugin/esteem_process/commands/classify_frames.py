"""Divide the selected 4D-STEM scan into grains and amorphous phases, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import frame_items, notices
from nionswift_plugin.esteem_process.computations import classify_frames
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Classify 4D-STEM..."

SHOWN = ("fractions", "patterns", "confidence", "picked", "map")
"""The last one is shown in front."""


def _classify(window: Any) -> None:
    model = window.document_model
    try:
        frames, mask = frame_items.selected(window)
    except EsteemError as error:
        notices.tell(TITLE, f"{error}")
        return
    _, made = classify_frames.make(model, frames, mask=mask)
    for name in SHOWN:
        window.show_display_item(model.get_display_item_for_data_item(made[name]))
    ComputationPanel.EditComputationDialog(window, made["map"]).show()


COMMAND = Command(TITLE, _classify)
