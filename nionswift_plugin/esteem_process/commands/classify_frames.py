"""Divide the selected 4D-STEM scan into grains and amorphous phases, and open the parameters."""

from __future__ import annotations

from typing import Any

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import frame_items, notices, parameters_window
from nionswift_plugin.esteem_process.computations import classify_frames
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Classify 4D-STEM..."

SHOWN = ("map", "picked", "confidence", "patterns", "fractions")
"""Where there is room, the first one first."""


def _classify(window: Any) -> None:
    try:
        frames, mask = frame_items.selected(window)
    except EsteemError as error:
        notices.tell(TITLE, f"{error}")
        return
    computation, made = classify_frames.make(window.document_model, frames, mask=mask)
    parameters_window.open_results(window, computation, [made[name] for name in SHOWN])


COMMAND = Command(TITLE, _classify)
