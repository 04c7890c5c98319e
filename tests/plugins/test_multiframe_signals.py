"""Signals of cameras in a series: 4D frames, spectra and X-rays, as the microscope gave them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiframe_bench import Bench, opened, spectrometer

from esteemcore import events, io, multiframe, scan, simulate
from nionswift_plugin.esteem_multiframe.taking import scan_parameters


@pytest.fixture
def bench(microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(microscope, tmp_path / "session") as made:
        yield made


def test_a_4d_camera_has_a_file_for_each_frame(bench: Bench) -> None:
    bench.choose("HAADF", "Esteem One-Bit Camera")
    bench.model.dwell_us.value = 80.0
    bench.model.frames.value = 2
    bench.model.order_index.value = multiframe.ORDERS.index("shuffled")
    assert bench.acquire().startswith("Done: 2 of 2 frames"), bench.handler.message.value
    images = [bench.region.frame(k)["HAADF"] for k in range(2)]
    for number in range(2):
        source = io.source(bench.region.path / f"camera_{number:05d}.esteem")
        assert len(source) == 256
        order = bench.model.plan.order(number).visits.order
        assert np.array_equal(source.dataset.scan.index, order)
        assert images[number].sum() > 0
    bench.choose("BF")
    bench.handler.last_region_button.on_clicked()
    assert [d.name for d in bench.model.chosen] == ["HAADF", "Esteem One-Bit Camera"]
    bench.model.dwell_us.value = 10.0
    bench.settle()
    assert "exposes for 80 µs or longer" in bench.acquire()
    bench.model.dwell_us.value = 80.0 * 4
    bench.model.subpixels.value = 2
    bench.settle()
    assert "choose 1 sub-pixel" in bench.acquire()


def test_spectra_are_recorded_with_the_images(bench: Bench) -> None:
    instrument = bench.microscope.instrument
    with spectrometer(bench) as camera:
        bench.choose("HAADF", "EELS")
        bench.model.dwell_us.value, bench.model.frames.value = 80.0, 2
        bench.model.width_nm.value = 0.8
        bench.settle()
        assert bench.acquire().startswith("Done: 2 of 2 frames"), bench.handler.message.value
        spectra = bench.region.frame(1)["EELS"]
        sampler = simulate.FrameSampler(
            instrument.stage.current.bank, instrument.detector, seed=camera.seed + camera.runs - 1
        )
        plan = bench.model.plan
        parameters = scan_parameters(
            bench.microscope.scan_source,
            plan,
            multiframe.FrameRequest(1, plan.region, plan.order(1), 0.0, bench.region.path),
        )
        places = instrument.field(parameters).on_specimen(plan.order(1).visits.positions)
        frames = sampler.frames(places, scan.charge_e(instrument.current_pa, 80e-6))
        expected = events.unpack_bits(frames, 256).sum(axis=1).reshape(16, 8, -1)
        assert expected.sum() > 0
        assert np.array_equal(spectra, expected)
        assert plan.figures.bytes_per_frame == 16 * 8 * 4 * (1 + spectra.shape[-1])
    assert "EELS" not in [d.name for d in bench.model.detectors]


@pytest.mark.parametrize(("order", "subpixels"), [("raster", 1), ("turned raster", 2)])
def test_xrays_are_recorded_as_events(bench: Bench, order: str, subpixels: int) -> None:
    with spectrometer(bench, "EDS", "eds"):
        bench.choose("HAADF", "EDS")
        bench.model.dwell_us.value, bench.model.frames.value = 80.0 * subpixels**2, 2
        bench.model.width_nm.value = 0.8
        bench.model.order_index.value = multiframe.ORDERS.index(order)
        bench.model.subpixels.value = subpixels
        bench.settle()
        assert bench.acquire().startswith("Done: 2 of 2 frames"), bench.handler.message.value
        for number in range(2):
            found = bench.region.frame(number)["EDS"]
            assert isinstance(found, events.SparseSI)
            assert (found.shape, found.dtype) == ((16, 8, 256), np.uint16)
            assert found.count.sum() > 0
        signal = io.load(bench.region.parts[0][1]).signals["EDS"]
        assert signal.kind == "events"
        # as many electrons as dwell and current bring, in each pixel alike
        counts = bench.region.frame(1)["EDS"].to_dense().sum(axis=2)
        assert counts.std() < 2 * np.sqrt(counts.mean())
