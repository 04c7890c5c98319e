"""The spectrum image of a data item that a computation works on, as the core takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import Symbolic

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
