"""A 4D-STEM scan as a data item of Nion Swift."""

from __future__ import annotations

import functools

import numpy as np
from nion.data import Calibration, DataAndMetadata

from esteemcore import simulate

RADIUS = 3.0


@functools.cache
def grains() -> np.ndarray:
    """Frames (y, x, ky, kx) of two grains and an amorphous area."""
    truth = simulate.polycrystal((12, 12), (48, 48), radius_px=RADIUS, electrons=1500, grains=2, seed=1)
    frames = truth.frames()
    frames.flags.writeable = False
    return frames


def xdata(data: np.ndarray) -> DataAndMetadata.DataAndMetadata:
    """Return frames with their calibrations, in nm and mrad."""
    axes = [Calibration.Calibration(0, 2.0, "nm")] * 2 + [Calibration.Calibration(0, 0.5, "mrad")] * 2
    return DataAndMetadata.new_data_and_metadata(
        data,
        dimensional_calibrations=axes[-data.ndim :],
        data_descriptor=DataAndMetadata.DataDescriptor(False, data.ndim - 2, 2),
    )


def crystal(seed: int = 0, stretched: float = 0.02) -> np.ndarray:
    """Frames (y, x, ky, kx) of a crystal whose right half is stretched along x."""
    y, x = np.mgrid[:48, :48] - 24.0
    rates = np.empty((2, 48, 48))
    for half, stretch in enumerate((1.0, 1 + stretched)):
        far = [np.hypot(y - 11 * h, x - 11 * k / stretch) for h in (-1, 0, 1) for k in (-1, 0, 1)]
        soft = [np.clip(0.5 - (each - RADIUS) / 1.2, 0, 1) for each in far]
        rates[half] = 0.02 + 40 * soft[4] + 8 * sum(soft[:4] + soft[5:])
    return np.random.default_rng(seed).poisson(rates[[0, 0, 0, 1, 1, 1]], (3, 6, 48, 48)).astype(np.uint16)
