"""Find the Bragg disks of the selected 4D-STEM scan, and open the parameters."""

from __future__ import annotations

from typing import Any

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import frame_items, notices, parameters_window
from nionswift_plugin.esteem_process.computations import bragg_disks
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Bragg Disks..."

SHOWN = ("map", "number")
"""Where there is room, the first one first."""


def _find(window: Any) -> None:
    try:
        frames, mask = frame_items.selected(window)
    except EsteemError as error:
        notices.tell(TITLE, f"{error}")
        return
    computation, made = bragg_disks.make(window.document_model, frames, mask=mask)
    parameters_window.open_results(window, computation, [made[name] for name in SHOWN])


COMMAND = Command(TITLE, _find)
