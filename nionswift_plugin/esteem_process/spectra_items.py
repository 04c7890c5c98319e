"""The spectrum image of a data item that a computation works on, as the core takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import DataItem, Symbolic

from esteemcore import io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import linked_items
from nionswift_plugin.esteem_process.to_dataset import make_dataset

Step = Callable[[float], None]

SCREE = 20
"""Components that a scree shows; the others are noise."""


def is_spectrum_image(xdata: DataAndMetadata.DataAndMetadata | None) -> bool:
    """Return whether data are (y, x, energy) or (y, x, wavelength)."""
    if xdata is None or xdata.is_sequence:
        return False
    return xdata.collection_dimension_count == 2 and xdata.datum_dimension_count == 1


def spectra_of(xdata: DataAndMetadata.DataAndMetadata | None) -> tuple[Any, tuple[io.Axis, ...]]:
    """Return a spectrum image in memory, also where it lies in a file, and its axes.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not is_spectrum_image(xdata):
        raise ParameterError("this needs a spectrum image, a map with a spectrum in each pixel; add up a series first")
    signal = next(iter(make_dataset([linked_items.Source("spectra", xdata)]).signals.values()))  # type: ignore[arg-type,list-item]
    try:
        return np.asarray(signal.data), signal.axes
    except MemoryError as error:
        raise ParameterError("there is not enough memory; select a part of the data") from error


def steps(context: Symbolic.ComputationExecutorContext, start: float = 0.0, stop: float = 1.0) -> Step:
    """Return what a part of the work calls with its fraction done; it leaves the work when the user stopped it."""

    def step(done: float) -> None:
        context.sync_execution()
        context.progress = start + (stop - start) * done

    context.sync_execution()
    return step


def make(
    document_model: Any,
    kind: type[Any],
    processing_id: str,
    parameters: linked_items.Parameters,
    titles: Mapping[str, str],
    item: DataItem.DataItem,
    chosen: Mapping[str, Any],
) -> tuple[Symbolic.Computation, dict[str, DataItem.DataItem]]:
    """Return a new computation on a spectrum image, and what it will fill.

    Parameters
    ----------
    document_model
        Nion's.
    kind : type
        The computation; it has a ``label``.
    processing_id : str
    parameters : mapping
        Type, value and label of each.
    titles : mapping of str to str
        Of the new data items, by the names of the outputs.
    item : DataItem
        The spectrum image.
    chosen : mapping
        Values of parameters that differ from the usual ones.
    """
    return linked_items.make(
        document_model,
        processing_id,
        kind.label,
        {"src": (item, "Spectra")},
        {name: (of, chosen.get(name, value), label) for name, (of, value, label) in parameters.items()},
        {name: f"{title} of {item.title}" for name, title in titles.items()},
    )
