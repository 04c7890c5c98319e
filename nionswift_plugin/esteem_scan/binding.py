"""Between arrays with calibrations and Nion's data items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata
from numpy.typing import ArrayLike, NDArray

from esteemcore.errors import CalibrationError

KEY = "esteem"
"""Under this key the metadata of a data item tell where it comes from."""


def to_xdata(
    data: ArrayLike, step_nm: tuple[float, float], unit: str, metadata: Mapping[str, Any]
) -> DataAndMetadata.DataAndMetadata:
    """Return an image of a scan with its calibrations.

    Parameters
    ----------
    data : array_like, shape (y, x)
    step_nm : (float, float)
        Distance of rows and of columns in nm; the origin is in the centre, as for Nion's scans.
    unit : str
        Unit of the values.
    metadata : mapping
        JSON-ready; see `KEY`.
    """
    image = np.ascontiguousarray(data)
    axes = [
        Calibration.Calibration(-step * size / 2, step, "nm") for step, size in zip(step_nm, image.shape, strict=True)
    ]
    return _xdata(image, axes, unit, metadata)


def to_pattern(
    data: ArrayLike, axes_mrad: Sequence[tuple[float, float]], unit: str, metadata: Mapping[str, Any]
) -> DataAndMetadata.DataAndMetadata:
    """Return an image of the detector with its calibrations.

    Parameters
    ----------
    data : array_like, shape (ky, kx)
    axes_mrad : ((float, float), (float, float))
        First value and step of rows and of columns in mrad.
    unit : str
        Unit of the values.
    metadata : mapping
        JSON-ready; see `KEY`.
    """
    axes = [Calibration.Calibration(first, step, "mrad") for first, step in axes_mrad]
    return _xdata(np.ascontiguousarray(data), axes, unit, metadata)


def _xdata(
    image: NDArray[Any], axes: list[Calibration.Calibration], unit: str, metadata: Mapping[str, Any]
) -> DataAndMetadata.DataAndMetadata:
    return DataAndMetadata.new_data_and_metadata(
        image,
        intensity_calibration=Calibration.Calibration(0.0, 1.0, unit),
        dimensional_calibrations=axes,
        metadata=dict(metadata),
    )


def from_xdata(xdata: DataAndMetadata.DataAndMetadata) -> tuple[NDArray[Any], tuple[float, float], str]:
    """Return the values of an image, its step (row, column) in nm and the unit of its values.

    Raises
    ------
    CalibrationError
        If it is no image or its axes are not in nm.
    """
    axes = xdata.dimensional_calibrations
    if len(axes) != 2 or any(axis.units != "nm" for axis in axes):
        units = ", ".join(axis.units or "pixels" for axis in axes)
        raise CalibrationError(f"expected an image with both axes in nm; its axes are in {units}")
    return np.asarray(xdata.data), (axes[0].scale, axes[1].scale), xdata.intensity_calibration.units
