"""The demo without Nion Swift: the simulation itself is the microscope."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import fourd, scan, simulate, stream
from esteemcore.cli.demo_run import Axes, Experiment

CHUNK = 256
"""Frames that are handed over at a time."""


class CoreMicroscope:
    """Draws the frames of an experiment and waits for a camera that is not there.

    Parameters
    ----------
    experiment : Experiment
    bank : Bank
        Diffraction patterns of the specimen.
    """

    def __init__(self, experiment: Experiment, bank: simulate.Bank) -> None:
        self._experiment, self._bank = experiment, bank

    @property
    def geometry(self) -> fourd.Geometry:
        """Return the calibrations of the scan."""
        experiment = self._experiment
        return fourd.Geometry(
            scan_step_nm=experiment.step_nm,
            beam_energy_kev=experiment.beam.energy_kev,
            semiangle_mrad=experiment.beam.semiangle_mrad,
            pixel_mrad=experiment.detector.pixel_mrad,
            center=experiment.detector.center,
        )

    def set_dose(self, dose: float) -> scan.Exposure:
        """Return what an acquisition with this dose will expose."""
        experiment = self._experiment
        dwell_s = 1 / experiment.rate
        return scan.Exposure(
            current_pa=scan.current_for_dose(dose, dwell_s, experiment.step_nm, experiment.shape),
            dwell_s=dwell_s,
            pixel_size_nm=experiment.step_nm,
            shape=experiment.shape,
            pattern=experiment.pattern,
        )

    def acquire(self, exposure: scan.Exposure, take: Callable[[stream.Chunk], None]) -> None:
        """Scan once; who is held up catches up."""
        experiment = self._experiment
        sampler = simulate.FrameSampler(
            self._bank, experiment.detector, origin_nm=experiment.origin_nm, seed=experiment.seed
        )
        order = experiment.pattern.order
        places = experiment.pattern.positions * experiment.step_nm
        frames = np.empty((CHUNK, *experiment.detector.packed_shape), np.uint8)
        simulate.FrameSampler(self._bank, experiment.detector).frames(places[:1], exposure.pixel_charge_e)  # warm up
        clock = time.perf_counter()
        for at in range(0, len(order), CHUNK):
            index = order[at : at + CHUNK]
            drawn = sampler.frames(places[at : at + CHUNK], exposure.pixel_charge_e, out=frames[: len(index)])
            times = (at + np.arange(len(index), dtype=np.float64)) * exposure.dwell_s
            time.sleep(max(0.0, clock + (at + len(index)) * exposure.dwell_s - time.perf_counter()))
            take(stream.Chunk(index, drawn, time_s=times))

    def keep(
        self, group: str, title: str, data: NDArray[Any], unit: str, axes: Axes, record: Mapping[str, Any]
    ) -> None:
        """Leave it: there is no project."""
