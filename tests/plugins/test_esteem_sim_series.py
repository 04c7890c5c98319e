"""The multi-frame panel records EELS and X-rays of the simulated microscope with their energies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from esteem_sim import spectrometer
from multiframe_bench import Bench, opened

from esteemcore import io, scan
from esteemcore.events import SparseSI


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    configuration = microscope.configuration
    configuration.eels.is_paced = configuration.eds.is_paced = False
    with opened(microscope, tmp_path / "session") as made:
        instrument = microscope.instrument
        instrument.SetVal("BeamCurrent", 500e-12)
        instrument.stage.select("needle")
        instrument.prepare_scene()
        instrument.stage.wait()
        made.model.height_nm.value, made.model.width_nm.value, made.model.pixel_size_nm.value = 40.0, 20.0, 4.0
        made.model.dwell_us.value, made.model.frames.value = 1000.0, 3
        made.settle()
        yield made


def expected_counts(bench: Bench, sampler: Any, efficiency: float = 1.0) -> np.ndarray:
    """Return the mean spectra of the region."""
    instrument, region = bench.microscope.instrument, bench.model.plan.region
    content = instrument.stage.sample.composition.maps(region.shape, region.pixel_size_nm, region.center_nm)
    return sampler.expected(content, scan.charge_e(instrument.current_pa, 1e-3) * efficiency)


def test_a_stepped_spectrum_is_stored_with_its_offset(bench: Bench) -> None:
    instrument = bench.microscope.instrument
    instrument.SetVal("EELS_Offset", -25.0)
    instrument.SetVal("ZLPoffset", 5.0)  # the steps are counted from here
    bench.choose("HAADF", "Esteem EELS Camera")
    bench.model.energy_step_ev.value = 3.0
    bench.settle()
    assert bench.acquire().startswith("Done: 3 of 3 frames"), bench.handler.message.value
    assert instrument.GetVal("ZLPoffset") == 5
    dataset = io.load(bench.region.parts[0][1])
    axis = dataset.signals["Esteem_EELS_Camera"].axes[-1]
    assert (axis.size, axis.scale, axis.offset, axis.unit) == (1024, 0.5, -20.0, "eV")
    assert dataset.series.energy_offset_ev.tolist() == [0, 3, 6]
    for number in range(3):
        total = bench.region.frame(number)["Esteem_EELS_Camera"].sum(axis=(0, 1))
        peak = axis.offset + axis.scale * total.argmax() + dataset.series.energy_offset_ev[number]
        assert peak == pytest.approx(0, abs=0.5)
    sampler = spectrometer.eels_sampler(instrument.controls, instrument.stage.sample.composition)
    mean = expected_counts(bench, sampler, 0.8).sum()
    first = bench.region.frame(0)["Esteem_EELS_Camera"]
    assert first.sum() == pytest.approx(mean, abs=5 * np.sqrt(mean + first.size))
    bench.handler.new_region_button.on_clicked()
    instrument.SetVal("EELS_Offset", 430.0)  # the axis is that of the moment
    bench.model.frames.value, bench.model.energy_step_ev.value = 1, 0.0
    assert bench.acquire().startswith("Done"), bench.handler.message.value
    assert io.load(bench.region.parts[0][1]).signals["Esteem_EELS_Camera"].axes[-1].offset == 435


def test_x_rays_are_stored_as_the_events_that_they_are(bench: Bench) -> None:
    configuration, instrument = bench.microscope.configuration, bench.microscope.instrument
    bench.choose("HAADF", "Esteem EDS Detector")
    bench.model.frames.value = 2
    assert bench.acquire().startswith("Done: 2 of 2 frames"), bench.handler.message.value
    stored = bench.region.frame(1)["Esteem_EDS_Detector"]
    dense = stored.to_dense() if isinstance(stored, SparseSI) else np.asarray(stored)
    assert np.array_equal(dense.reshape(-1, 2048), configuration.eds.events.to_dense()[0])
    signal = io.load(bench.region.parts[0][1]).signals["Esteem_EDS_Detector"]
    assert (signal.kind, signal.axes[-1].unit) == ("events", "keV")
    sampler = spectrometer.eds_sampler(instrument.controls, instrument.stage.sample.composition)
    mean = expected_counts(bench, sampler).sum()
    assert dense.sum() == pytest.approx(mean, abs=5 * np.sqrt(mean))
    assert dense.sum() > 100
