"""Divide the selected 4D-STEM scan into grains and amorphous phases, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from nionswift_plugin.esteem_process import frame_items, notices
from nionswift_plugin.esteem_process.computations import classify_frames
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Classify 4D-STEM..."

SHOWN = ("fractions", "patterns", "confidence", "picked", "map")
"""The last one is shown in front."""


def _classify(window: Any) -> None:
    model = window.document_model
    found = frame_items.selected(window)
    if found is None:
        notices.tell(TITLE, frame_items.SELECT)
        return
    _, made = classify_frames.make(model, found[0], mask=found[1])
    for name in SHOWN:
        window.show_display_item(model.get_display_item_for_data_item(made[name]))
    ComputationPanel.EditComputationDialog(window, made["map"]).show()


COMMAND = Command(TITLE, _classify)
