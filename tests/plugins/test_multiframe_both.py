"""EELS and X-rays of the same scan in one series: each with its own axis, the electrons counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from esteem_sim import spectrometer
from esteem_sim.controls import DEFAULTS
from esteem_sim.motion import Motion
from multiframe_bench import Bench, opened

from esteemcore import events, io, multiframe, scan
from nionswift_plugin.esteem_multiframe import detectors
from nionswift_plugin.esteem_multiframe.taking import scan_parameters

EELS, EDS, BITS = "Esteem EELS Camera", "Esteem EDS Detector", "Esteem One-Bit Camera"
EELS_KEY, EDS_KEY = "Esteem_EELS_Camera", "Esteem_EDS_Detector"
DWELL_S = 1e-3
CURRENT_PA = 400.0

pytestmark = pytest.mark.usefixtures("waiting_for_devices")  # between two frames things are done to the next one


@pytest.fixture
def bench(shared_microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    """A panel with a needle below it, that records EELS and X-rays as fast as they can be drawn."""
    configuration, instrument = shared_microscope.configuration, shared_microscope.instrument
    configuration.eels.is_paced = configuration.eds.is_paced = False
    instrument.faults.clear()
    instrument.controls.restore(DEFAULTS)
    instrument.motion = Motion(instrument.controls)
    instrument.ledger = scan.DoseLedger()
    instrument.stage.select("needle")
    instrument.prepare_scene()
    instrument.stage.wait()
    instrument.SetVal("EELS_CameraNoise", 0.0)
    with opened(shared_microscope, tmp_path / "session") as made:
        instrument.SetVal("BeamCurrent", CURRENT_PA * 1e-12)
        made.model.read_current()
        made.choose("HAADF", EELS, EDS)
        made.model.dwell_us.value, made.model.frames.value = DWELL_S * 1e6, 1
        made.model.width_nm.value = 0.8
        made.settle()
        yield made
    instrument.faults.clear()


def visits_of(bench: Bench, number: int) -> tuple[Any, float]:
    """Return what lies under the places of a frame, and the electrons of a dwell."""
    plan, instrument = bench.model.plan, bench.microscope.instrument
    order = plan.order(number)
    request = multiframe.FrameRequest(number, plan.region, order, 0.0, bench.region.path)
    parameters = scan_parameters(bench.microscope.scan_source, plan, request)
    places = instrument.field(parameters).on_specimen(np.indices(order.shape).reshape(2, -1).T)
    return instrument.stage.current.sample.composition.at(places), scan.charge_e(CURRENT_PA, DWELL_S)


@pytest.mark.parametrize("order", ["raster", "shuffled"])
def test_both_are_of_the_same_scan(bench: Bench, order: str, caplog: pytest.LogCaptureFixture) -> None:
    bench.model.order_index.value = multiframe.ORDERS.index(order)
    bench.settle()
    instrument = bench.microscope.instrument
    assert bench.acquire().startswith("Done: 1 of 1 frames"), bench.handler.message.value
    assert not [record.message for record in caplog.records if "progress" in record.message]
    frame = bench.region.frame(0)
    eels, eds = frame[EELS_KEY], frame[EDS_KEY]
    assert isinstance(eds, events.SparseSI)
    assert eels.shape == (16, 8, spectrometer.EELS_SHAPE[1])
    assert eds.shape == (16, 8, spectrometer.EDS_CHANNELS)
    content, electrons = visits_of(bench, 0)
    composition = instrument.stage.sample.composition
    expected = spectrometer.eds_sampler(instrument.controls, composition, 0).expected(content, electrons)
    mean = expected.sum(axis=1)
    assert mean.sum() > 1000
    found = eds.to_dense().reshape(128, -1).sum(axis=1)
    assert ((found - mean) ** 2 / mean).mean() == pytest.approx(1, abs=6 * np.sqrt(2 / 128))
    assert found.sum() == pytest.approx(mean.sum(), abs=5 * np.sqrt(mean.sum()))
    sampler = spectrometer.eels_sampler(instrument.controls, composition, 0)
    part = electrons * spectrometer.eels_efficiency(instrument.controls)
    counted = sampler.expected(content, part).sum(axis=1)
    assert eels.reshape(128, -1).sum(axis=1) == pytest.approx(counted, rel=5 / np.sqrt(counted.min()))
    dataset = io.load(bench.region.parts[0][1])
    axes = {name: dataset.signals[name].axes[-1] for name in (EELS_KEY, EDS_KEY)}
    assert (axes[EELS_KEY].unit, axes[EDS_KEY].unit) == ("eV", "keV")
    assert axes[EDS_KEY].scale == pytest.approx(spectrometer.KEV_PER_CHANNEL)
    # the ledger has counted the electrons once
    (entry,) = [entry for entry in instrument.ledger.entries if entry.kind == "acquisition"]
    flybacks = {"raster": 16, "shuffled": 0}[order] * bench.model.plan.settings.flyback_s
    assert entry.count == 1
    assert entry.charge_e == pytest.approx(128 * electrons + scan.charge_e(CURRENT_PA, flybacks), rel=1e-9)


def test_figures_count_every_signal(bench: Bench) -> None:
    places = 16 * 8
    size = places * (4 + 4 * spectrometer.EELS_SHAPE[1] + 2 * spectrometer.EDS_CHANNELS)
    assert bench.model.plan.figures.bytes_per_frame == size
    bench.choose("HAADF", EELS, EDS, BITS)
    assert bench.model.plan.figures.bytes_per_frame == size + places * 256 * 256 // 8
    bench.model.dwell_us.value = 100.0
    bench.settle()
    assert "Esteem EELS Camera exposes for 250 µs or longer" in bench.model.warning.value


def test_the_slowest_camera_drives_and_x_rays_follow(bench: Bench) -> None:
    bench.choose("HAADF", BITS, EDS, EELS)
    channels, cameras = detectors.split(bench.model.chosen)
    assert [d.name for d in channels] == ["HAADF"]
    assert [d.name for d in cameras] == [EELS, BITS, EDS]
    twice = [*bench.model.chosen, dataclasses.replace(cameras[1], name="Another")]
    with pytest.raises(ValueError, match="only one 4D camera can be recorded; choose one of Esteem One-Bit Camera and"):
        detectors.split(twice)
    configuration = bench.microscope.configuration
    configuration.eels.follows_scan = configuration.camera.follows_scan = False
    try:
        with pytest.raises(ValueError, match="only one camera can drive the scan; choose one of"):
            detectors.split(bench.model.chosen)
        configuration.camera.follows_scan = True
        assert [d.name for d in detectors.split(bench.model.chosen)[1]] == [EELS, BITS, EDS]
        configuration.eels.follows_scan, configuration.camera.follows_scan = True, False
        assert [d.name for d in detectors.split(bench.model.chosen)[1]] == [BITS, EELS, EDS]
    finally:
        configuration.eels.follows_scan = configuration.camera.follows_scan = True


def test_three_cameras_record_one_scan(bench: Bench) -> None:
    bench.choose("HAADF", EELS, EDS, BITS)
    bench.microscope.instrument.SetVal("BeamCurrent", 5e-12)
    bench.settle()
    assert bench.acquire().startswith("Done: 1 of 1 frames"), bench.handler.message.value
    source = io.source(bench.region.path / "camera_00000.esteem")
    assert len(source) == 128
    frame = bench.region.frame(0)
    assert min(frame[EELS_KEY].sum(), frame[EDS_KEY].count.sum()) > 0


@pytest.mark.parametrize("camera", ["eels", "eds"])
def test_a_detector_that_fails_in_mid_frame_keeps_the_frames_before(bench: Bench, camera: str) -> None:
    instrument, configuration = bench.microscope.instrument, bench.microscope.configuration
    configuration.eels.is_paced = configuration.eds.is_paced = True
    bench.model.frames.value, bench.model.dwell_us.value = 2, 2000.0
    bench.settle()

    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        if frame.done == 1:
            instrument.faults.camera_at = 60
            instrument.faults.camera_id = getattr(configuration, camera).camera_id

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("Error: "), message
    assert "the camera does not answer any more" in message
    assert camera == "eels" or message.startswith(f"Error: {EDS}: "), message
    assert bench.region.count == 1
    assert [entry.kind for entry in instrument.ledger.entries].count("spoiled") == 1
    instrument.faults.clear()
    bench.handler.on_frame, bench.model.frames.value = None, 1
    bench.settle()
    assert bench.acquire().startswith("Done: 1 of 1 frames, frames 1 to 1"), bench.handler.message.value
    assert set(bench.region.frame(1)) == {"HAADF", EELS_KEY, EDS_KEY}


def test_an_abort_in_mid_frame_keeps_the_frames_before(bench: Bench) -> None:
    for camera in (bench.microscope.configuration.eels, bench.microscope.configuration.eds):
        camera.is_paced = True
    bench.model.dwell_us.value, bench.model.frames.value = 3000.0, 50
    bench.settle()
    bench.handler.acquire_button.on_clicked()
    device = bench.microscope.device
    bench.until(lambda: bench.region is not None and bench.region.count == 1)
    bench.until(lambda: device.frame is not None and 20 < device.frame.advanced < 100)
    bench.handler.abort_button.on_clicked()
    bench.settle()
    assert bench.handler.message.value.startswith("Stopped by the user; 1 of 50 frames"), bench.handler.message.value
    assert bench.region.count == 1
    assert bench.region.frame(0)[EDS_KEY].count.sum() > 0


def test_maps_of_both_are_live_and_judged_together(bench: Bench) -> None:
    live, stage = bench.handler.live, bench.microscope.instrument.stage
    stage.select("srtio3")
    bench.microscope.instrument.prepare_scene()
    stage.wait()
    bench.model.width_nm.value = 1.6
    live.maps.value = "Loss:5-40 Ti@eds:4400-4620"
    bench.model.frames.value, live.snr.value = 3, 1e-3
    bench.settle()
    message = bench.acquire()
    assert message.startswith("enough: SNR of Loss"), message
    assert "Ti" in message.split(";")[0]
    state = live.state
    assert set(state.maps) == {"Loss", "Ti"}
    assert {"Map Loss", "Map Ti", f"Sum of {EELS_KEY}", f"Sum of {EDS_KEY}"} <= set(live.items)
    assert live.items[f"Sum of {EDS_KEY}"].xdata.dimensional_calibrations[-1].units == "keV"
    counts = sum(bench.region.frame(k)[EDS_KEY].count.sum(dtype=int) for k in range(state.frames))
    assert live.items[f"Sum of {EDS_KEY}"].xdata.data.sum() == pytest.approx(counts, rel=0.1)
    live.maps.value = "Ni@detector:7300-7650 Ni@eels:5-20"
    assert "is mapped in two signals" in bench.acquire()
    live.maps.value = "Ni@esteem:7300-7650"
    assert f"fits {EELS_KEY} and {EDS_KEY}" in bench.acquire()
