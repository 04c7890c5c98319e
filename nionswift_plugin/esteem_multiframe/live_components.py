"""The components of a running series as Nion Swift shows them: spectra and maps, each a sequence of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.data import Calibration, DataAndMetadata

from esteemcore import io
from esteemcore.multiframe import FormingComponents
from nionswift_plugin.esteem_scan import binding

XData = DataAndMetadata.DataAndMetadata
SPECTRA, MAPS = "Spectra of components", "Maps of components"


def shown(
    forming: FormingComponents, energy: io.Axis | None, step_nm: float, metadata: Mapping[str, Any]
) -> dict[str, XData]:
    """Return what shows components, by title.

    Parameters
    ----------
    forming : FormingComponents
    energy : Axis or None
        Of the spectra.
    step_nm : float
        Distance of the pixels of a frame.
    metadata : mapping
        Of Esteem, by the key `binding.KEY`.
    """
    entry = {**metadata[binding.KEY], "components": len(forming.spectra), "summed_frames": forming.frames}
    number, step = Calibration.Calibration(), step_nm * forming.pixels
    places = [Calibration.Calibration(-step * size / 2, step, "nm") for size in forming.abundances.shape[1:]]
    channel = Calibration.Calibration() if energy is None else _calibration(energy)
    return {
        SPECTRA: _sequence(forming.spectra, [number, channel], "", 1, entry),
        MAPS: _sequence(forming.abundances, [number, *places], "counts per frame", 2, entry),
    }


def _calibration(axis: io.Axis) -> Calibration.Calibration:
    return Calibration.Calibration(axis.offset, axis.scale, axis.unit)


def _sequence(values: Any, axes: list[Calibration.Calibration], unit: str, datum: int, entry: dict[str, Any]) -> XData:
    return DataAndMetadata.new_data_and_metadata(
        np.array(values, np.float32),
        intensity_calibration=Calibration.Calibration(0.0, 1.0, unit),
        dimensional_calibrations=axes,
        metadata={binding.KEY: entry},
        data_descriptor=DataAndMetadata.DataDescriptor(True, 0, datum),
    )
