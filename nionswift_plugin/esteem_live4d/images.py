"""The data items in which the images form."""

from __future__ import annotations

from typing import Any

import numpy as np
from nion.swift.model import DataItem

from nionswift_plugin.esteem_live4d.session import LiveSession, Update
from nionswift_plugin.esteem_scan import binding

NAMES = ("ssb", "icom", "bf", "adf", "sum")
"""Images in the order in which they are shown."""


class LiveImages:
    """One data item per image, made when first needed and then overwritten; on the thread of the user interface.

    Parameters
    ----------
    document_controller
        Nion's window.
    """

    def __init__(self, document_controller: Any) -> None:
        self._window = document_controller
        self._items: dict[str, DataItem.DataItem] = {}

    def item(self, name: str) -> DataItem.DataItem | None:
        """Return the data item of an image, if there is one."""
        item = self._items.get(name)
        return item if item is not None and item in self._window.document_model.data_items else None

    def show(self, update: Update, session: LiveSession) -> None:
        """Put a set of images into their data items.

        Parameters
        ----------
        update : Update
        session : LiveSession
            What they belong to.
        """
        for name in NAMES:
            if name not in update.images:
                continue
            image = update.images[name]
            step = update.view.geometry.step_nm
            xdata = binding.to_xdata(image.data, step, image.unit, _metadata(name, update, session))
            item = self.item(name)
            if item is None:
                item = self._make(name, xdata, f"Live 4D-STEM: {image.title}")
            else:
                item.set_data_and_metadata(xdata)
            self._set_limits(item, image.data)

    def _make(self, name: str, xdata: Any, title: str) -> DataItem.DataItem:
        item = DataItem.new_data_item(xdata)
        item.title = title
        self._window.document_model.append_data_item(item)
        self._items[name] = item
        self._put_into_empty_panel(item)
        return item

    def _put_into_empty_panel(self, item: DataItem.DataItem) -> None:
        workspace = self._window.workspace_controller
        for panel in workspace.display_panels if workspace is not None else ():
            if panel.display_item is None:
                panel.set_display_panel_display_item(self._window.document_model.get_display_item_for_data_item(item))
                return

    def _set_limits(self, item: DataItem.DataItem, data: Any) -> None:
        """Keep positions that were not visited (NaN) from blackening the display."""
        display_item = self._window.document_model.get_display_item_for_data_item(item)
        channel = display_item.display_data_channels[0] if display_item is not None else None
        if channel is None:
            return
        missing = np.isnan(data)
        if missing.any() and not missing.all():
            channel.display_limits = (float(np.nanmin(data)), float(np.nanmax(data)))
        elif channel.display_limits is not None:
            channel.display_limits = None


def _metadata(name: str, update: Update, session: LiveSession) -> dict[str, Any]:
    metadata = dict(session.metadata)
    instrument = metadata.pop("instrument", None)
    status = update.status
    entry = {
        "image": name,
        "run": session.title,
        "provenance": update.provenance(name),
        "frames": status.reduced,
        **metadata,
    }
    found: dict[str, Any] = {binding.KEY: entry}
    if instrument is not None:
        found["instrument"] = instrument
    return found
