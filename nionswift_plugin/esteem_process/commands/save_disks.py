"""Save the disks of the selected data item as a table of text."""

from __future__ import annotations

from typing import Any

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import container_files, disk_items, frame_items, notices
from nionswift_plugin.esteem_process.computations import bragg_disks
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Save Bragg Disks as CSV..."
FILTER = "Comma-separated values (*.csv)"


def _save(window: Any) -> None:
    item = window.selected_data_item
    computation = None if item is None else frame_items.computation_of(window.document_model, item, bragg_disks.ID)
    if computation is None:
        notices.tell(TITLE, "Select a result of Bragg Disks: the map, the number of disks or their table")
        return
    number, table = (computation.get_output(name) for name in ("number", "table"))
    path, *_ = window.get_save_file_path(TITLE.rstrip("."), "", FILTER, FILTER)
    if not path:
        return
    file = container_files.named(path, ".csv")
    try:
        disks = disk_items.from_xdata(table.xdata)
        disk_items.write_csv(file, disks, number.data_shape)
    except (EsteemError, OSError) as error:
        notices.tell(TITLE, f"{error}")
        return
    notices.tell(TITLE, f"Wrote {len(disks):,} disks to {file}")


COMMAND = Command(TITLE, _save)
