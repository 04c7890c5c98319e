"""The spectrum image of a data item that a computation works on, as the core takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.swift.model import Symbolic
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.cli.spectrum_image import in_memory, takes_part
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI
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

    Counts that are mostly zero, as a container of events gives them, come as `SparseSI`.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not is_spectrum_image(xdata):
        raise ParameterError("this needs a spectrum image, a map with a spectrum in each pixel; add up a series first")
    signal = next(iter(make_dataset([linked_items.Source("spectra", xdata)]).signals.values()))  # type: ignore[arg-type,list-item]
    try:
        data = in_memory(signal)
        return (data if isinstance(data, SparseSI) else np.asarray(data)), signal.axes
    except MemoryError as error:
        raise ParameterError("there is not enough memory; select a part of the data") from error


def mask_of(given: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return the pixels that take part: inside the graphic ``region`` and where the image ``mask`` is not zero or NaN.

    None where neither is given.

    Raises
    ------
    ParameterError
        If the image has another shape, or no pixel is left.
    """
    region, image = given.get("region"), given.get("mask")
    if region is None and image is None:
        return None
    inside = np.ones(shape, np.bool_)
    if region is not None:
        inside &= np.asarray(region.get_mask(shape)) > 0
    if image is not None:
        if image.xdata is None or image.xdata.data_shape != shape:
            found = "no data" if image.xdata is None else f"shape {image.xdata.data_shape}"
            raise ParameterError(f"the mask has {found}; expected an image of shape {shape}, zero where to leave out")
        inside &= takes_part(np.asarray(image.xdata.data))
    if not inside.any():
        raise ParameterError("the graphic and the mask leave no pixel; move the graphic or choose another mask")
    return inside


def steps(context: Symbolic.ComputationExecutorContext, start: float = 0.0, stop: float = 1.0) -> Step:
    """Return what a part of the work calls with its fraction done; it leaves the work when the user stopped it."""

    def step(done: float) -> None:
        context.sync_execution()
        context.progress = start + (stop - start) * done

    context.sync_execution()
    return step
