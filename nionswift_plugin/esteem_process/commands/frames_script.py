"""Save a script, and the frames beside it, that repeats what the selected data item shows of 4D-STEM data."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import frames_script, notices
from nionswift_plugin.esteem_process.computations import bragg_disks, class_pattern, classify_frames, strain_map
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Save Script of 4D-STEM..."


def _save(window: Any) -> None:
    item = window.selected_data_item
    computation = None if item is None else _computation(window.document_model, item)
    if computation is None:
        notices.tell(TITLE, "Select a result of Classify 4D-STEM, Bragg Disks or Strain Map")
        return
    path, *_ = window.get_save_file_path(TITLE.rstrip("."), "", "Python script (*.py)", "Python script (*.py)")
    if not path:
        return
    try:
        write = frames_script.prepare(window.document_model, computation, Path(path))
    except EsteemError as error:
        notices.tell(TITLE, f"{error}")
        return
    threading.Thread(target=_write, args=(write,), name=TITLE, daemon=True).start()


def _write(write: Callable[[], tuple[Path, Path]]) -> None:
    """Write, which takes long for many frames, and tell how it ended."""
    try:
        script, container = write()
    except (EsteemError, OSError) as error:
        notices.tell(TITLE, f"{error}")
        return
    notices.tell(TITLE, f"Wrote {script} and {container}")


def _computation(model: Any, item: Any) -> Any:
    """Return the computation that fills a data item, of a pattern that of its classes; None where there is none."""
    for computation in model.computations:
        if item in computation.output_items:
            if computation.processing_id == class_pattern.ID:
                return _computation(
                    model, next(each for each in computation.direct_input_items if each in model.data_items)
                )
            if computation.processing_id in (classify_frames.ID, bragg_disks.ID, strain_map.ID):
                return computation
    return None


COMMAND = Command(TITLE, _save)
