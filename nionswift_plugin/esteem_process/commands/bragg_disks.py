"""Find the Bragg disks of the selected 4D-STEM scan, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift import ComputationPanel

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import frame_items, notices
from nionswift_plugin.esteem_process.computations import bragg_disks
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Bragg Disks..."


def _find(window: Any) -> None:
    model = window.document_model
    try:
        frames, mask = frame_items.selected(window)
    except EsteemError as error:
        notices.tell(TITLE, f"{error}")
        return
    _, made = bragg_disks.make(model, frames, mask=mask)
    for name in ("number", "map"):
        window.show_display_item(model.get_display_item_for_data_item(made[name]))
    ComputationPanel.EditComputationDialog(window, made["map"]).show()


COMMAND = Command(TITLE, _find)
