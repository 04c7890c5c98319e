"""The one-bit camera alone: live view, sequences, pacing and their dose."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from nion.utils import Geometry

from esteemcore import events, scan, simulate
from esteemcore.errors import StreamError


def test_the_live_view_shows_the_disk_and_is_charged(microscope: Any) -> None:
    instrument, source = microscope.instrument, microscope.camera_source
    microscope.scan_source.probe_position = Geometry.FloatPoint(y=0.5, x=0.25)
    began = time.monotonic()
    source.start_playing()
    image = [source.get_next_xdatas_to_finish(60.0)[0] for _ in range(2)][-1]
    assert not instrument.is_blanked
    source.stop_playing(sync_timeout=60.0)
    took = time.monotonic() - began
    assert instrument.is_blanked

    electrons = scan.charge_e(instrument.current_pa, 0.02)
    assert image.data_shape == (256, 256)
    assert [c.units for c in image.dimensional_calibrations] == ["mrad", "mrad"]
    assert image.dimensional_calibrations[1].scale == pytest.approx(15 / 96)
    # most electrons fall into the bright-field disk; few pixels are hit twice in one frame
    assert 0.8 * electrons < image.data.sum() < 1.05 * electrons
    radius = np.hypot(*np.indices((256, 256)) - np.array([128, 128])[:, None, None])
    assert image.data[radius < 97].sum() > 0.8 * image.data.sum()

    (entry,) = instrument.ledger.entries
    assert entry.kind == "camera view"
    assert scan.charge_e(instrument.current_pa, 0.03) < entry.charge_e <= scan.charge_e(instrument.current_pa, took)
    fov = microscope.scan_source.scan_context.fov_nm
    assert entry.center_nm == pytest.approx((0.0, -0.25 * fov))


def test_the_camera_looks_on_while_a_scan_runs(microscope: Any) -> None:
    instrument = microscope.instrument
    microscope.scan_source.set_current_frame_parameters(microscope.parameters((64, 64), dwell_us=100.0))
    microscope.scan_source.start_playing()
    microscope.camera_source.start_playing()
    microscope.until(lambda: bool(microscope.device.frame and microscope.device.frame.has_begun))
    image = [microscope.camera_source.get_next_xdatas_to_finish(60.0)[0] for _ in range(2)][-1]
    assert image.data.sum() > 0
    microscope.scan_source.abort_playing(sync_timeout=60.0)
    assert not instrument.is_blanked, "the camera still needs the beam, which rests now"
    microscope.camera_source.abort_playing(sync_timeout=60.0)
    assert instrument.is_blanked
    assert set(instrument.ledger.totals) <= {"live view", "camera view"}
    assert instrument.ledger.totals["live view"] > 0


def test_a_blanked_camera_is_dark_and_costs_nothing(microscope: Any) -> None:
    microscope.instrument.is_blanked = True
    microscope.camera.start_live()
    image = microscope.camera.acquire_image()["data"]
    microscope.camera.stop_live()
    assert not image.any()
    assert microscope.instrument.ledger.total_charge_e == 0


@pytest.mark.parametrize("packed", [True, False])
def test_a_sequence_is_drawn_at_the_place_of_the_probe(microscope: Any, packed: bool) -> None:
    instrument, camera = microscope.instrument, microscope.camera
    camera.is_paced = False
    microscope.camera_source.set_current_frame_parameters(microscope.camera_parameters(packed=packed))
    (element,) = microscope.camera_source.acquire_sequence(40)
    sampler = simulate.FrameSampler(instrument.stage.current.bank, instrument.detector, seed=camera.runs - 1)
    places = np.tile(microscope.device.probe_place_nm, (40, 1))
    frames = sampler.frames(places, scan.charge_e(instrument.current_pa, 80e-6))
    expected = frames if packed else events.unpack_bits(frames, 256).astype(np.float32)
    assert element["data"].dtype == expected.dtype
    assert np.array_equal(element["data"], expected)
    assert instrument.is_blanked
    assert set(instrument.ledger.totals) == {"camera sequence"}


def test_frames_come_in_real_time(microscope: Any) -> None:
    camera = microscope.camera
    partial = camera.acquire_sequence_begin(microscope.camera_parameters(), 2500)
    began = time.monotonic()
    counts = []
    while not partial.is_complete:
        partial = camera.acquire_sequence_continue(update_period=0.02)
        counts.append((time.monotonic() - began, partial.valid_count))
    camera.acquire_sequence_end()
    assert time.monotonic() - began >= 2500 * 80e-6 - 0.01
    assert all(count <= elapsed / 80e-6 + 1 for elapsed, count in counts), "no frame before its time"
    assert len(counts) > 1


def test_a_camera_that_was_held_up_catches_up(microscope: Any) -> None:
    camera = microscope.camera
    partial = camera.acquire_sequence_begin(microscope.camera_parameters(), 2000)
    camera.acquire_sequence_continue(update_period=0.01)
    time.sleep(0.2)  # longer than the whole run lasts
    while not partial.is_complete:
        partial = camera.acquire_sequence_continue(update_period=0.01)
    camera.acquire_sequence_end()
    assert partial.valid_count == 2000
    assert partial.xdata.data.any(axis=(1, 2)).all()


def test_a_cancelled_sequence_stops_and_blanks(microscope: Any) -> None:
    camera = microscope.camera
    camera.acquire_sequence_begin(microscope.camera_parameters(), 100_000)
    camera.acquire_sequence_continue(update_period=0.02)
    assert not microscope.instrument.is_blanked
    camera.acquire_sequence_cancel()
    assert microscope.instrument.is_blanked
    assert camera.acquire_sequence_continue(update_period=1.0).is_canceled
    camera.acquire_sequence_end()


def test_exposures_are_what_the_camera_can_do(microscope: Any) -> None:
    parameters = microscope.camera_parameters(exposure_ms=0.01)
    assert microscope.camera.validate_frame_parameters(parameters).exposure_ms == pytest.approx(0.08)
    assert microscope.camera_source.get_expected_dimensions(parameters) == (256, 32)
    assert microscope.camera_source.get_expected_dimensions(microscope.camera_parameters(packed=False)) == (256, 256)


def test_a_view_ends_when_the_place_has_had_its_dose(microscope: Any) -> None:
    instrument, camera = microscope.instrument, microscope.camera
    # what 0.2 s of a resting beam bring to one cell of the map
    cell_a2 = 2.5**2
    instrument.ledger.budget = scan.DoseBudget(total_dose=scan.charge_e(instrument.current_pa, 0.2) / 4 / cell_a2)
    camera.start_live()

    def watch() -> None:
        for _ in range(100):
            camera.acquire_image()

    with pytest.raises(StreamError, match="rest the beam"):
        watch()
    assert instrument.is_blanked
    assert instrument.last_safe_state.reason == "budget"
    camera.stop_live()
    with pytest.raises(StreamError, match="budget"):
        camera.start_live()
    instrument.override_budget("the tilt must be set here")
    camera.start_live()
    assert camera.acquire_image()["data"].any()
    camera.stop_live()
    assert instrument.is_blanked
