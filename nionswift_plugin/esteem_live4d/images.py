"""The data items in which the images form."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from nion.swift.model import DataItem

from esteemcore import fourd
from nionswift_plugin.esteem_live4d.session import LiveSession, Update
from nionswift_plugin.esteem_scan import binding

NAMES = ("ssb", "bragg", "icom", "bf", "adf", "sum", "disks")
"""Images in the order in which they are shown."""
WEAK = [{"type": "log"}]
"""How what lies on the detector is shown: the direct beam hides all reflections without it."""


class LiveImages:
    """One data item per image and run, on the thread of the user interface.

    While a run goes on its items are live, in Nion's sense: shown at once, written to the disk at the end.

    Parameters
    ----------
    document_controller
        Nion's window.
    """

    def __init__(self, document_controller: Any) -> None:
        self._window = document_controller
        self._items: dict[str, DataItem.DataItem] = {}
        self._before: dict[str, DataItem.DataItem] = {}
        self._live: list[_Live] = []
        self._is_running = self._is_empty = False

    def item(self, name: str) -> DataItem.DataItem | None:
        """Return the data item of an image, if there is one."""
        return self._present(self._items.get(name))

    def begin(self) -> None:
        """Begin a run: its images are new data items, which appear where those of the last run are shown."""
        self.end()
        self._before |= self._items
        self._items = {}
        self._is_running = self._is_empty = True

    def end(self) -> None:
        """End the run: write its images, or remove them if no frame has come."""
        while self._live:
            self._live.pop().close()
        if self._is_empty:
            for item in filter(self._present, self._items.values()):
                self._window.document_model.remove_data_item(item)
            self._items = {}
        self._is_running = self._is_empty = False

    def show(self, update: Update, session: LiveSession) -> bool:
        """Put a set of images into their data items; return whether some have none yet, see `make_next`.

        Parameters
        ----------
        update : Update
        session : LiveSession
            What they belong to.
        """
        self._is_empty = self._is_empty and not update.status.reduced
        missing = False
        for name in update.images:
            item = self.item(name)
            if item is None:
                missing = True
                continue
            with self._one_notice(item):
                item.set_data_and_metadata(_xdata(name, update, session))
                self._set_limits(item, update.images[name])
        return missing

    def make_next(self, update: Update, session: LiveSession) -> bool:
        """Make one data item that is missing; return whether more are.

        That takes Nion 0.1 s or more, in which the window stands still.
        """
        missing = [name for name in NAMES if name in update.images and self.item(name) is None]
        if missing:
            name, image = missing[0], update.images[missing[0]]
            item = self._make(name, _xdata(name, update, session), f"{image.title} {session.title}")
            self._set_limits(item, image)
        return len(missing) > 1

    def _present(self, item: DataItem.DataItem | None) -> DataItem.DataItem | None:
        return item if item is not None and item in self._window.document_model.data_items else None

    def _make(self, name: str, xdata: Any, title: str) -> DataItem.DataItem:
        item = DataItem.new_data_item(xdata)
        item.title = title
        self._window.document_model.append_data_item(item)
        self._items[name] = item
        if self._is_running:
            self._live.append(_Live(self._window.document_model, item))
        self._place(item, self._present(self._before.pop(name, None)))
        return item

    def _place(self, item: DataItem.DataItem, before: DataItem.DataItem | None) -> None:
        """Show an image where the one before it is shown, or in the first empty panel."""
        find = self._window.document_model.get_display_item_for_data_item
        workspace = self._window.workspace_controller
        panels = workspace.display_panels if workspace is not None else []
        old = find(before) if before is not None else None
        places = [panel for panel in panels if old is not None and panel.display_item is old]
        for panel in places or [panel for panel in panels if panel.display_item is None][:1]:
            panel.set_display_panel_display_item(find(item))

    @contextlib.contextmanager
    def _one_notice(self, item: DataItem.DataItem) -> Any:
        """Tell Nion once about all that changes: each notice costs the window some ms."""
        display_item = self._window.document_model.get_display_item_for_data_item(item)
        with contextlib.ExitStack() as stack:
            if display_item is not None:
                stack.enter_context(display_item.display_item_changes())
            stack.enter_context(item.data_item_changes())
            stack.enter_context(item.data_source_changes())
            yield

    def _set_limits(self, item: DataItem.DataItem, image: fourd.LiveImage) -> None:
        """Keep positions that were not visited (NaN) from deciding about the display; show weak reflections."""
        display_item = self._window.document_model.get_display_item_for_data_item(item)
        channel = display_item.display_data_channels[0] if display_item is not None else None
        if channel is None:
            return
        data = image.data
        if image.axes_mrad is not None:
            channel.display_limits, channel.adjustments = (0.0, max(1.0, float(data.max()))), WEAK
            return
        missing = np.isnan(data)
        if missing.all():
            channel.display_limits = (0.0, 1.0)
        elif missing.any():
            channel.display_limits = (float(np.nanmin(data)), float(np.nanmax(data)))
        elif channel.display_limits is not None:
            channel.display_limits = None


class _Live:
    """Keeps a data item in memory and live until it is closed."""

    def __init__(self, document_model: Any, item: DataItem.DataItem) -> None:
        self._document_model, self._item = document_model, item
        item.increment_data_ref_count()
        self._transaction = document_model.item_transaction(item)
        document_model.begin_data_item_live(item)

    def close(self) -> None:
        """Write the data item, unless the user has deleted it."""
        self._transaction.close()
        if self._item in self._document_model.data_items:
            self._document_model.end_data_item_live(self._item)
            self._item.decrement_data_ref_count()


def _xdata(name: str, update: Update, session: LiveSession) -> Any:
    image, metadata = update.images[name], _metadata(name, update, session)
    if image.axes_mrad is not None:
        return binding.to_pattern(image.data, image.axes_mrad, image.unit, metadata)
    return binding.to_xdata(image.data, update.view.geometry.step_nm, image.unit, metadata)


def _metadata(name: str, update: Update, session: LiveSession) -> dict[str, Any]:
    metadata = dict(session.metadata)
    instrument = metadata.pop("instrument", None)
    status = update.status
    entry = {
        **metadata,  # a file brings the provenance of its frames; the image has its own
        "image": name,
        "run": session.title,
        "provenance": update.provenance(name),
        "frames": status.reduced,
    }
    found: dict[str, Any] = {binding.KEY: entry}
    if instrument is not None:
        found["instrument"] = instrument
    return found
