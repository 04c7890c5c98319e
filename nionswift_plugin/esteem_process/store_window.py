"""The window in which data items are compressed to a container."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nion.swift.model import DataItem
from nion.ui import Declarative
from nion.utils import Converter, Model

from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import container_files, store_view
from nionswift_plugin.esteem_process.store_job import Outcome, StoreJob
from nionswift_plugin.esteem_process.to_dataset import make_dataset
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

METHODS: dict[str, str | None] = {
    "Automatic, without loss": None,
    "Lossless spectra": "esteem.lossless",
    "Events (whole counts), lossless": "esteem.events",
    "zstd, for readers without Esteem": "zstd",
    "Bounded error (loses noise)": "esteem.eels-bounded",
}
"""Codecs by what the user reads; None lets `esteemcore.io.save` choose."""

BOUNDED = list(METHODS.values()).index("esteem.eels-bounded")
CHANGED = "The data items have changed since they were written; they stay in the project. Compress them again."
FILTER = "Esteem container in one file (*.esteem.zip);;Esteem container, a folder (*.esteem)"


class StoreWindow(Declarative.WindowHandler):
    """Compress data items to a container; the originals go only when the user says so, and can be brought back.

    Parameters
    ----------
    document_controller
        Nion's window.
    items : sequence of DataItem
        What is to be stored.
    """

    def __init__(self, document_controller: Any, items: Sequence[DataItem.DataItem]) -> None:
        super().__init__()
        self._document_controller = document_controller
        self._items = list(items)
        self._held: list[DataItem.DataItem] = []
        self._written: dict[DataItem.DataItem, Any] = {}
        self._job: StoreJob | None = None
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self.number = Converter.FloatToStringConverter()
        self.what = Model.PropertyModel(", ".join(item.title for item in self._items))
        self.method_names = Model.PropertyModel(list(METHODS))
        self.method_index = Model.PropertyModel(0)
        self.bound_sigma = Model.PropertyModel(0.5)
        self.gain = Model.PropertyModel(1.0)
        self.readout_sigma = Model.PropertyModel(0.0)
        self.is_bounded = Model.PropertyModel(False)
        self.path = Model.PropertyModel(str(self._suggestion()))
        self.progress = Model.PropertyModel(0)
        self.message = Model.PropertyModel("The data items stay in the project.")
        self.is_idle = Model.PropertyModel(True)
        self.is_running = Model.PropertyModel(False)
        self.can_remove = Model.PropertyModel(False)
        self.method_index.on_value_changed = lambda index: setattr(self.is_bounded, "value", index == BOUNDED)
        self.run(store_view.make_window(), parent_window=document_controller, window_style="tool")

    def close(self) -> None:
        """Stop what goes on; Nion Swift calls this when the window closes."""
        self._calls.close()
        if self._job is not None:
            self._job.cancel()
            self._job.join()
        self._release()
        self.method_index.on_value_changed = None
        super().close()

    def choose_clicked(self, widget: Any) -> None:
        """Ask for a name."""
        path, selected, _ = self._document_controller.get_save_file_path(
            "Compress to Container", self.path.value, FILTER, FILTER.split(";;")[0]
        )
        if path:
            if not Path(path).suffix:
                path += container_files.FOLDER if "folder" in selected else container_files.ZIP
            self.path.value = path

    def store_clicked(self, widget: Any) -> None:
        """Begin."""
        self.can_remove.value = False
        self._written = self._versions()
        try:
            path = Path(self.path.value or "").expanduser()
            if not path.is_absolute():
                raise ParameterError("the file has no folder; press Choose...")
            gone = [item for item in self._items if item not in self._document_controller.document_model.data_items]
            if gone:
                raise ParameterError("a data item was removed from the project; close this window and select again")
            dataset = make_dataset(self._items)
            codec = self._codec(dataset.signals)
        except EsteemError as error:
            self.message.value = f"Error: {error}"
            return
        for item in self._items:
            item.increment_data_ref_count()
            self._held.append(item)
        self.progress.value = 0
        self.message.value = f"Writing {path}"
        self.is_idle.value, self.is_running.value = False, True
        self._job = StoreJob(path, dataset, codec, self._progressed, lambda o: self._calls.later(lambda: self._end(o)))
        self._job.start()

    def stop_clicked(self, widget: Any) -> None:
        """Stop; nothing is left on the disk."""
        if self._job is not None:
            self._job.cancel()

    def remove_clicked(self, widget: Any) -> None:
        """Remove the originals from the project; Edit > Undo brings them back."""
        present = [item for item in self._items if item in self._document_controller.document_model.data_items]
        self.can_remove.value = False
        if self._have_changed():
            self.message.value = CHANGED
            return
        if present:
            self._document_controller.delete_data_items(present)
        self.message.value = (
            f"{len(present)} data items were removed; Edit > Undo brings them back until Nion Swift is restarted, "
            "which frees the disk"
        )

    def _suggestion(self) -> Path:
        folder = Path(self._document_controller.ui.get_document_location())
        title = re.sub(r"[^\w+-]+", " ", self._items[0].title).strip()[:80] if self._items else ""
        return folder / f"{title or 'data'}{container_files.ZIP}"

    def _codec(self, names: Mapping[str, Any]) -> dict[str, Any]:
        codec = list(METHODS.values())[self.method_index.value or 0]
        if codec is None:
            return {}
        entry: dict[str, Any] = {"name": codec}
        if codec == "esteem.eels-bounded":
            entry |= {"bound_sigma": self.bound_sigma.value, "gain": self.gain.value}
            entry |= {"readout_sigma": self.readout_sigma.value}
            if any(value is None for value in entry.values()):
                raise ParameterError("bound, gain and readout noise must be numbers")
        return dict.fromkeys(names, entry)

    def _progressed(self, done: float) -> None:
        self._calls.newest("progress", lambda: setattr(self.progress, "value", round(100 * done)))

    def _end(self, outcome: Outcome) -> None:
        self._release()
        self._job = None
        self.message.value = outcome.message
        self.progress.value = 100 if outcome.info is not None else 0
        self.is_idle.value, self.is_running.value = True, False
        self.can_remove.value = outcome.info is not None and not self._have_changed()
        if outcome.info is not None and not self.can_remove.value:
            self.message.value = f"{outcome.message}\n{CHANGED}"

    def _have_changed(self) -> bool:
        """Whether data items of the project are others than those that were written."""
        now = self._versions()
        return any(self._written.get(item) != version for item, version in now.items())

    def _versions(self) -> dict[DataItem.DataItem, Any]:
        """Return when each data item was changed last; for one that changes now, something like nothing else."""
        present = [item for item in self._items if item in self._document_controller.document_model.data_items]
        return {item: object() if item.is_live else (item.modified, item.data_modified) for item in present}

    def _release(self) -> None:
        while self._held:
            self._held.pop().decrement_data_ref_count()
