"""Save a script, and the spectra beside it, that repeats the unmixing which the selected data item shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_process import notices, unmix_script
from nionswift_plugin.esteem_process.computations import unmix_image
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Save Script of Unmixing..."


def _save(window: Any) -> None:
    item = window.selected_data_item
    computation = None if item is None else _computation(window.document_model, item)
    if computation is None:
        notices.tell(TITLE, "Select a result of Unmix Spectrum Image: abundances, components or what is left over")
        return
    path, *_ = window.get_save_file_path(TITLE.rstrip("."), "", "Python script (*.py)", "Python script (*.py)")
    if not path:
        return
    try:
        given = unmix_script.inputs_of(computation)
        script, container = unmix_script.save(Path(path), given["src"].title, given)
    except (EsteemError, OSError) as error:
        notices.tell(TITLE, f"{error}")
        return
    notices.tell(TITLE, f"Wrote {script} and {container}")


def _computation(document_model: Any, item: Any) -> Any:
    """Return the unmixing that fills a data item, None where there is none."""
    for computation in document_model.computations:
        if computation.processing_id == unmix_image.ID and item in computation.output_items:
            return computation
    return None


COMMAND = Command(TITLE, _save)
