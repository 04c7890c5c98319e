"""Average what a rectangle encloses over all its repeats, and open the parameters."""

from __future__ import annotations

from typing import Any

from nion.swift.model import Graphics

from nionswift_plugin.esteem_process import notices, parameters_window
from nionswift_plugin.esteem_process.computations import motif_average
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Motif Average..."


def _average(window: Any) -> None:
    model = window.document_model
    images, spectra, motifs = [], [], []
    for item in window.selected_data_items:
        if item.xdata is None:
            continue
        kind = item.xdata.collection_dimension_count, item.xdata.datum_dimension_count
        if kind == (0, 2):
            images.append(item)
            graphics = model.get_display_item_for_data_item(item).graphics
            motifs += [graphic for graphic in graphics if isinstance(graphic, Graphics.RectangleGraphic)]
        elif kind == (2, 1):
            spectra.append(item)
    if len(images) != 1 or len(motifs) != 1 or len(spectra) > 1:
        notices.tell(
            TITLE, "Select an image with one rectangle around the motif, and spectra of the same pixels if any"
        )
        return
    computation, made = motif_average.make(model, images[0], motifs[0], spectra[0] if spectra else None)
    parameters_window.open_results(window, computation, made.values())


COMMAND = Command(TITLE, _average)
