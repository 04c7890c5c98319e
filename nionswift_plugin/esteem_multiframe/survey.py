"""The survey image, and the region that is drawn on it as a rectangle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from nion.swift.model import DataItem, Graphics

from esteemcore.multiframe import Region
from nionswift_plugin.esteem_multiframe.detectors import Detector
from nionswift_plugin.esteem_multiframe.taking import whole
from nionswift_plugin.esteem_scan import binding
from nionswift_plugin.esteem_scan.acquisition_lock import Ticket, acquiring
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

Pair = tuple[float, float]
TITLE = "Survey"


def take(ticket: Ticket, source: Any, channel: Detector) -> tuple[Any, Any]:
    """Scan the field of the scan panel once; return the image and where it is on the specimen.

    Parameters
    ----------
    ticket : Ticket
        Released at the end.
    source : HardwareSource
    channel : Detector
        Which signal to look at.
    """
    instrument = source.stem_controller
    with acquiring(ticket, instrument, "survey"):
        parameters = whole(source.get_current_frame_parameters())
        ScanPlan(flyback_us=ScanPlan.of(parameters).flyback_us).put(parameters)
        parameters.enabled_channel_indexes = [channel.channel]
        found = [xdata for xdata in source.record_immediate(parameters) if xdata is not None]
        return (found[0] if found else None), instrument.field(parameters)


class Survey:
    """A data item with a rectangle on it.

    Parameters
    ----------
    window
        Nion's document controller.
    drawn : callable
        Called when the rectangle has changed.
    """

    def __init__(self, window: Any, drawn: Callable[[], None]) -> None:
        self._window, self._drawn = window, drawn
        self._field: Any = None
        self._graphic: Any = None
        self._listener: Any = None
        self._is_resizing = False
        self.item: DataItem.DataItem | None = None

    def close(self) -> None:
        """Let go of the rectangle."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def show(self, xdata: Any, field: Any, size_nm: Pair) -> None:
        """Show a survey image with a rectangle of this size in its middle.

        Parameters
        ----------
        xdata : DataAndMetadata
        field
            Where it is on the specimen.
        size_nm : (float, float)
            Height and width of the rectangle; at most nine tenths of the image.
        """
        self.close()
        image = binding.to_xdata(np.array(xdata.data), field.step_nm, "counts", dict(xdata.metadata))
        model = self._window.document_model
        self.item = DataItem.new_data_item(image)
        self.item.title = TITLE
        model.append_data_item(self.item)
        display_item = model.get_display_item_for_data_item(self.item)
        share = [min(size / fov, 0.9) for size, fov in zip(size_nm, field.fov_nm, strict=True)]
        graphic = Graphics.RectangleGraphic()
        graphic.bounds = ((0.5 - share[0] / 2, 0.5 - share[1] / 2), (share[0], share[1]))
        graphic.label = "Region"
        display_item.add_graphic(graphic)
        self._field, self._graphic = field, graphic
        self._listener = graphic.property_changed_event.listen(self._changed)
        show_item(self._window, self.item)
        self._drawn()

    def resize(self, size_nm: Pair) -> None:
        """Give the rectangle a size that was typed, about its centre."""
        drawn = self.drawn
        if drawn is None or drawn[0] == size_nm:
            return
        (top, left), (height, width) = self._graphic.bounds
        share = [size / fov for size, fov in zip(size_nm, self._field.fov_nm, strict=True)]
        self._is_resizing = True
        try:
            self._graphic.bounds = (
                (top + (height - share[0]) / 2, left + (width - share[1]) / 2),
                (share[0], share[1]),
            )
        finally:
            self._is_resizing = False

    def _changed(self, name: str) -> None:
        if name in ("bounds", "rotation") and not self._is_resizing:
            self._drawn()

    @property
    def drawn(self) -> tuple[Pair, Pair, float] | None:
        """Height and width in nm, centre on the specimen in nm, rotation in degrees; None if nothing is drawn."""
        if self._graphic is None or self.item not in self._window.document_model.data_items:
            return None
        display_item = self._window.document_model.get_display_item_for_data_item(self.item)
        if display_item is None or self._graphic not in display_item.graphics:
            return None
        (top, left), (height, width) = self._graphic.bounds
        field = self._field
        fov = field.fov_nm
        place = Region((1, 1), 1.0, field.center_nm, field.rotation_deg).moved(
            ((top + height / 2 - 0.5) * fov[0], (left + width / 2 - 0.5) * fov[1])
        )
        # Nion turns a rectangle counterclockwise on the screen, rows count downwards
        turned = field.rotation_deg - math.degrees(self._graphic.rotation)
        return (abs(height) * fov[0], abs(width) * fov[1]), place.center_nm, turned


def show_item(window: Any, item: Any, replaces: bool = True) -> None:
    """Show a data item in the first empty place; where there is none, in the first one if it may replace another."""
    workspace = window.workspace_controller
    panels = list(workspace.display_panels) if workspace is not None else []
    places = [panel for panel in panels if panel.display_item is None] or (panels if replaces else [])
    if places:
        places[0].set_display_panel_display_item(window.document_model.get_display_item_for_data_item(item))
