"""The window in which data items are compressed to a container."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nion.swift.model import DataItem
from nion.ui import Declarative
from nion.utils import Model

from esteemcore.errors import EsteemError, ParameterError
from esteemcore.io import chunk_codecs
from nionswift_plugin.esteem_process import container_files, methods, store_view
from nionswift_plugin.esteem_process.methods import METHODS
from nionswift_plugin.esteem_process.store_job import DataReferences, Outcome, StoreJob
from nionswift_plugin.esteem_process.to_dataset import make_dataset
from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

BOUNDED = list(METHODS.values()).index(chunk_codecs.BOUNDED)
BLOCKS = list(METHODS.values()).index(chunk_codecs.BLOCKS)
WAIT_S = 5.0
"""How long Nion Swift waits for the thread when the window closes, in s."""

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
        self._written: dict[DataItem.DataItem, Any] = {}
        self._titles = {item: str(item.title) for item in self._items}
        self._job: StoreJob | None = None
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self.number, self.whole = NumberConverter(), WholeConverter()
        self.what = Model.PropertyModel(", ".join(item.title for item in self._items))
        self.method_names = Model.PropertyModel(list(METHODS))
        self.method_index = Model.PropertyModel(0)
        self.bound_sigma = Model.PropertyModel(0.5)
        self.gain = Model.PropertyModel(1.0)
        self.readout_sigma = Model.PropertyModel(0.0)
        self.n_components = Model.PropertyModel(30)
        self.blocks = Model.PropertyModel(methods.AUTOMATIC)
        self.energy_unit = Model.PropertyModel(self._energy_unit())
        self.is_bounded = Model.PropertyModel(False)
        self.is_coarse = Model.PropertyModel(False)
        self.is_lossy = Model.PropertyModel(False)
        self.path = Model.PropertyModel(str(self._suggestion()))
        self.progress = Model.PropertyModel(0)
        self.message = Model.PropertyModel("The data items stay in the project.")
        self.is_idle = Model.PropertyModel(True)
        self.is_running = Model.PropertyModel(False)
        self.can_remove = Model.PropertyModel(False)
        self.method_index.on_value_changed = self._method_changed
        self.run(store_view.make_window(), parent_window=document_controller, window_style="tool")

    def close(self) -> None:
        """Stop what goes on; Nion Swift calls this when the window closes."""
        self._calls.close()
        if self._job is not None:
            self._job.cancel()
            self._job.join(WAIT_S)  # one that waits for a slow disk tidies up when it comes back
        self.method_index.on_value_changed = None
        super().close()

    def choose_clicked(self, widget: Any) -> None:
        """Ask for a name."""
        path, selected, _ = self._document_controller.get_save_file_path(
            "Compress to Container", self.path.value, FILTER, FILTER.split(";;")[0]
        )
        if path:
            first = container_files.FOLDER if "folder" in selected else container_files.ZIP
            self.path.value = str(container_files.named(path, first, *container_files.ENDINGS))

    def store_clicked(self, widget: Any) -> None:
        """Begin."""
        self.can_remove.value = False
        self._written = self._versions()
        self._titles |= {item: str(item.title) for item in self._written}
        codec, loss = list(METHODS.values())[self.method_index.value or 0], self._loss()
        held = DataReferences([])
        try:
            path = Path(self.path.value or "").expanduser()
            if not path.is_absolute():
                raise ParameterError("the file has no folder; press Choose...")
            if self._gone():
                raise ParameterError("a data item was removed from the project; close this window and select again")
            methods.check(codec, loss)
            held = DataReferences(self._items)  # before their data are looked at
            dataset = make_dataset(self._items)
        except EsteemError as error:
            held.release()
            self.message.value = f"Error: {error}"
            return
        self.progress.value = 0
        self.message.value = f"Writing {path}"
        self.is_idle.value, self.is_running.value = False, True
        self._job = StoreJob(
            path,
            dataset,
            lambda: methods.codecs(codec, loss, dataset),
            self._progressed,
            lambda outcome: self._calls.later(lambda: self._end(outcome)),
            held,
        )
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
        count, them = ("1 data item was", "it") if len(present) == 1 else (f"{len(present)} data items were", "them")
        self.message.value = (
            f"{count} removed; Edit > Undo brings {them} back until Nion Swift is restarted, which frees the disk"
        )

    def _energy_unit(self) -> str:
        """Return the unit in which blocks are given."""
        units = {axes[-1].units or "channels" for item in self._items if (axes := item.dimensional_calibrations)}
        return units.pop() if len(units) == 1 else "(unit of each)"

    def _suggestion(self) -> Path:
        folder = Path(self._document_controller.ui.get_document_location())
        title = re.sub(r"[^\w+-]+", " ", self._items[0].title).strip()[:80] if self._items else ""
        return folder / f"{title or 'data'}{container_files.ZIP}"

    def _method_changed(self, index: int | None) -> None:
        self.is_bounded.value, self.is_coarse.value = index == BOUNDED, index == BLOCKS
        self.is_lossy.value = index in (BOUNDED, BLOCKS)

    def _loss(self) -> methods.Loss:
        return methods.Loss(
            self.bound_sigma.value,
            self.gain.value,
            self.readout_sigma.value,
            self.n_components.value,
            (self.blocks.value or methods.AUTOMATIC).strip(),
        )

    def _progressed(self, done: float) -> None:
        self._calls.newest("progress", lambda: setattr(self.progress, "value", round(100 * done)))

    def _end(self, outcome: Outcome) -> None:
        self._job = None
        self.progress.value = 100 if outcome.info is not None else 0
        self.is_idle.value, self.is_running.value = True, False
        self.can_remove.value = outcome.info is not None and bool(self._versions()) and not self._have_changed()
        self.message.value = "\n".join([outcome.message, *self._meanwhile(is_written=outcome.info is not None)])

    def _meanwhile(self, is_written: bool) -> list[str]:
        """Return what happened to the data items while they were written, in words."""
        gone = ", ".join(repr(self._titles[item]) for item in self._gone())
        if gone and not is_written:
            return [f"{gone} left the project while it was written; Edit > Undo brings it back. Select it again."]
        words = [f"{gone} left the project meanwhile."] if gone else []
        if not is_written:
            return words
        renamed = [
            f"{self._titles[item]!r} is called {item.title!r} by now, but has its old title in the container."
            for item in self._versions()
            if item.title != self._titles[item]
        ]
        return [*words, *renamed, *([CHANGED] if self._have_changed() else [])]

    def _gone(self) -> list[DataItem.DataItem]:
        return [item for item in self._items if item not in self._document_controller.document_model.data_items]

    def _have_changed(self) -> bool:
        """Whether data items of the project are others than those that were written."""
        now = self._versions()
        return any(self._written.get(item) != version for item, version in now.items())

    def _versions(self) -> dict[DataItem.DataItem, Any]:
        """Return when each data item was changed last; for one that changes now, something like nothing else."""
        present = [item for item in self._items if item in self._document_controller.document_model.data_items]
        return {item: object() if item.is_live else (item.modified, item.data_modified) for item in present}
