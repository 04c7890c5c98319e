"""Live view, record and subscan of the simulated scan device in a headless Nion Swift, with their dose."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from esteem_sim import CHANNELS, Instrument, scan_parameters
from esteem_sim.scan_frame import ScanFrame
from nion.utils import Geometry

from esteemcore import scan
from esteemcore.errors import ParameterError, StreamError
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan


def test_a_record_shows_the_specimen_and_says_how(microscope: Any) -> None:
    instrument = microscope.instrument
    instrument.controls.set_value("BeamCurrent", 1e-8)
    parameters = microscope.parameters((24, 24), pattern="shuffled", seed=4)
    haadf, bright = microscope.record(parameters)
    scene = instrument.stage.current
    assert scene is not None
    electrons = scan.charge_e(instrument.current_pa, 20e-6)
    places = instrument.field(parameters).on_specimen(np.argwhere(np.ones((24, 24), bool)))
    for xdata, channel in ((haadf, "HAADF"), (bright, "BF")):
        mean = electrons * scene.signal(channel, places).reshape(24, 24)
        assert np.abs(xdata.data - mean).max() < 6 * np.sqrt(mean.max())
        assert np.corrcoef(xdata.data.ravel(), mean.ravel())[0, 1] > 0.9
    assert [c.units for c in haadf.dimensional_calibrations] == ["nm", "nm"]
    assert haadf.dimensional_calibrations[0].scale == pytest.approx(0.05)
    stored = ScanPlan.of(haadf.metadata["scan"]["scan_device_parameters"])
    assert np.array_equal(stored.visits((24, 24)).order, scan.shuffled((24, 24), seed=4).order)
    assert haadf.metadata["instrument"]["specimen"] == "srtio3"


@pytest.mark.parametrize("blank", ["frames", "positions"])
@pytest.mark.parametrize("pattern", ["raster", "shuffled"])
def test_a_record_is_charged_in_full_and_ends_blanked(microscope: Any, pattern: str, blank: str) -> None:
    parameters = microscope.parameters(pattern=pattern, blank=blank, flyback_us=100.0, settle_us=5.0)
    planned = microscope.instrument.exposure(parameters)
    microscope.record(parameters)
    assert microscope.instrument.is_blanked
    ledger = microscope.instrument.ledger
    assert ledger.totals == {"record": pytest.approx(planned.total_charge_e)}
    mean, _ = ledger.dose_at((0.0, 0.0), (1.0, 1.0))  # whole cells of the map around the field
    assert mean * 100 == pytest.approx(planned.total_charge_e)


def test_blanking_while_the_beam_moves_saves_dose(microscope: Any) -> None:
    doses = [
        microscope.instrument.exposure(microscope.parameters(blank=blank)).total_charge_e
        for blank in ("frames", "positions")
    ]
    assert doses[1] < doses[0]


def test_a_sparse_record_leaves_positions_out(microscope: Any) -> None:
    microscope.instrument.controls.set_value("BeamCurrent", 1e-8)
    parameters = microscope.parameters((20, 20), pattern="sparse", fraction=0.3, seed=2)
    bright = microscope.record(parameters)[1].data
    assert np.array_equal(bright > 0, scan.sparse((20, 20), 0.3, seed=2).mask)


def test_random_filling_is_visible_while_it_goes_on(microscope: Any) -> None:
    device, instrument = microscope.device, microscope.instrument
    instrument.controls.set_value("BeamCurrent", 1e-8)
    device.set_frame_parameters(microscope.parameters((16, 16), dwell_us=400.0, pattern="shuffled", seed=9))
    device.start_frame(True)
    seen, complete, skip = [], False, 0
    while not complete:
        elements, complete, bad, area, _, skip = device.read_partial(None, skip)
        image = elements[1]["data"]
        if not complete and image.any():
            assert area == ((0, 0), (16, 16))
            seen.append(image.copy())
        assert not bad
    order = scan.shuffled((16, 16), seed=9).order
    device.cancel()
    assert len(seen) > 3
    for image in seen:
        visited = np.flatnonzero(image)
        assert set(visited) == set(order[: len(visited)])
    assert instrument.is_blanked


def test_rasters_come_row_by_row_when_recorded(microscope: Any) -> None:
    device = microscope.device
    device.set_frame_parameters(microscope.parameters((16, 16), dwell_us=200.0))
    device.start_frame(False)
    rows, complete, skip = 0, False, 0
    while not complete:
        _, complete, _, ((top, _), (height, _)), _, skip = device.read_partial(None, skip)
        if not complete:
            assert top == rows
            rows = top + height
    assert 0 < rows < 16


def test_a_live_view_keeps_what_the_beam_has_not_reached_again(microscope: Any) -> None:
    microscope.instrument.controls.set_value("BeamCurrent", 1e-8)
    device = microscope.device
    device.set_frame_parameters(microscope.parameters((16, 16), dwell_us=2000.0))
    first = device.start_frame(True)
    try:
        deadline = time.monotonic() + 60
        number, complete = first, False
        while number == first or complete:
            elements, complete, _, _, number, _ = device.read_partial(None, 0)
            assert time.monotonic() < deadline
        assert device._frame.filled < 200
        assert all(element["data"].any(axis=1).all() for element in elements)
    finally:
        device.cancel()


def test_a_live_view_is_charged_frame_by_frame(microscope: Any) -> None:
    instrument, source = microscope.instrument, microscope.scan_source
    parameters = microscope.parameters(pattern="shuffled")
    source.set_current_frame_parameters(parameters)
    source.start_playing()
    frames = []
    for _ in range(3):
        frames.append(source.get_next_xdatas_to_finish(60.0)[0])
    source.stop_playing(sync_timeout=60.0)
    assert instrument.is_blanked
    assert not microscope.device.is_scanning
    exposure = instrument.exposure(parameters)
    (entry,) = instrument.ledger.entries
    assert entry.kind == "live view"
    assert entry.count >= 3
    assert entry.charge_e == pytest.approx(entry.count * exposure.total_charge_e)
    numbers = [frame.metadata["scan"]["scan_device_properties"]["esteem_scan"]["frame"] for frame in frames]
    assert numbers == sorted(set(numbers)), "each frame of a view has an order of its own"


def test_an_aborted_view_is_charged_for_what_it_exposed(microscope: Any) -> None:
    instrument, device = microscope.instrument, microscope.device
    device.set_frame_parameters(microscope.parameters((16, 16), dwell_us=2000.0))
    began = time.monotonic()
    device.start_frame(True)
    for _ in range(5):
        device.read_partial(None, 0)
    assert not instrument.is_blanked
    device.cancel()
    took = time.monotonic() - began
    assert instrument.is_blanked
    charge = instrument.ledger.total_charge_e
    # the beam was on from the first look on, for at least four slices of 5 ms
    assert scan.charge_e(instrument.current_pa, 0.02) <= charge <= scan.charge_e(instrument.current_pa, took)
    # who reads on gets the same again, and no beam comes from that
    device.read_partial(None, 0)
    assert instrument.is_blanked
    assert instrument.ledger.total_charge_e == charge


@pytest.mark.parametrize("dwell_us", [20.0, 500.0])
def test_an_abort_before_the_beam_is_on_costs_nothing(microscope: Any, dwell_us: float) -> None:
    microscope.device.set_frame_parameters(microscope.parameters(dwell_us=dwell_us))
    microscope.device.start_frame(False)
    microscope.device.cancel()
    assert microscope.instrument.is_blanked
    assert microscope.instrument.ledger.total_charge_e == 0


def test_a_subscan_and_a_line_go_where_they_should(microscope: Any) -> None:
    source, instrument = microscope.scan_source, microscope.instrument
    source.set_current_frame_parameters(microscope.parameters((32, 32)))
    source.start_playing()
    source.get_next_xdatas_to_finish(60.0)
    source.subscan_region = Geometry.FloatRect.from_tlhw(0.5, 0.25, 0.25, 0.5)
    source.subscan_enabled = True
    microscope.until(lambda: source.get_next_xdatas_to_finish(60.0)[0].data_shape == (8, 16))
    source.stop_playing(sync_timeout=60.0)
    entry = instrument.ledger.entries[-1]
    assert entry.fov_nm == pytest.approx((0.4, 0.8))
    assert entry.center_nm == pytest.approx((0.2, 0.0))
    assert instrument.is_blanked


def test_stage_and_beam_shift_move_the_field(microscope: Any) -> None:
    instrument = microscope.instrument
    instrument.controls.set_value("CSH.x", 3e-9)
    instrument.controls.set_value("stage_position_m.y", 2e-9)
    microscope.record(microscope.parameters())
    assert instrument.ledger.entries[-1].center_nm == pytest.approx((-2.0, 3.0))


def test_a_failing_scan_device_leaves_the_beam_off(microscope: Any) -> None:
    instrument = microscope.instrument
    instrument.faults.scan_at = 100
    parameters = microscope.parameters((32, 32), dwell_us=100.0)
    microscope.device.set_frame_parameters(parameters)
    with pytest.raises(StreamError, match="scan device stopped"):
        microscope.read_frame()
    assert instrument.is_blanked
    assert not microscope.device.is_scanning
    assert instrument.last_safe_state.reason.startswith("scan device: the scan device stopped")
    (entry,) = instrument.ledger.entries
    assert entry.kind == "spoiled"
    assert entry.charge_e < instrument.exposure(parameters).total_charge_e


def test_a_shut_blanker_means_no_dose_and_no_signal(microscope: Any) -> None:
    instrument = microscope.instrument
    assert instrument.SetVal("C_Blank", 1)
    images = microscope.record(microscope.parameters())
    assert instrument.GetVal("C_Blank") == 1
    assert not any(image.data.any() for image in images)
    assert instrument.ledger.total_charge_e == 0


@pytest.mark.parametrize("dwell_us", [500.0, 100_000.0])
def test_an_abort_behind_a_shut_blanker_costs_nothing(microscope: Any, dwell_us: float) -> None:
    instrument, device = microscope.instrument, microscope.device
    instrument.is_blanked = True
    device.set_frame_parameters(microscope.parameters((32, 32), dwell_us=dwell_us))
    device.start_frame(True)
    device.read_partial(None, 0)
    device.read_partial(None, 0)
    time.sleep(0.03)  # nobody looks at the frame meanwhile
    device.cancel()
    assert instrument.ledger.total_charge_e == 0


def test_closing_in_the_middle_leaves_the_beam_off_and_charges() -> None:
    instrument = Instrument(specimen="srtio3", thickness_nm=0.4, scene_options={"spacing_nm": 0.04})
    device = instrument.scan_device
    instrument.prepare_scene()
    instrument.stage.wait()
    instrument.rest = "parked"
    instrument.gate.begin_view("camera view")
    device.set_frame_parameters(scan_parameters(pixel_size=(32, 32), pixel_time_us=500.0, fov_nm=2.0))
    device.start_frame(True)
    device.read_partial(None, 0)
    time.sleep(0.02)
    assert not instrument.is_blanked
    instrument.close()
    assert instrument.is_blanked
    assert not device.is_scanning
    assert instrument.ledger.totals["live view"] > 0
    charge = instrument.ledger.total_charge_e
    time.sleep(0.02)
    assert instrument.ledger.total_charge_e == charge


def test_a_blanker_that_is_shut_meanwhile_saves_the_way_to_each_dark_position_too(microscope: Any) -> None:
    instrument = microscope.instrument
    parameters = microscope.parameters((8, 8), settle_us=5.0, flyback_us=100.0)
    parameters.set_parameter("external_clock_mode", 1)
    for dark, lit_visits, flybacks in ((slice(32, 48), 48, 6), (slice(48, 64), 48, 5), (slice(0, 64), 0, 0)):
        frame = ScanFrame(1, parameters, instrument.field(parameters), 0.5, [0], "record", is_continuous=False, seed=0)
        frame.begin(instrument.stage.wait())
        is_dark = np.zeros(64, bool)
        is_dark[dark] = True
        for visit in range(64):
            frame.advance(1, dark=bool(is_dark[visit]))
        frame.end("complete")
        visits, elapsed_s = frame.exposed()
        assert np.array_equal(visits.ravel() > 0, ~is_dark)
        # one flyback before each row but the first, and one after the last
        assert elapsed_s == pytest.approx(lit_visits * 25e-6 + flybacks * 100e-6)


def test_a_parked_beam_is_charged(microscope: Any) -> None:
    instrument = microscope.instrument
    microscope.scan_source.probe_position = Geometry.FloatPoint(y=0.25, x=0.75)
    instrument.rest = "parked"
    began = time.monotonic()
    time.sleep(0.05)
    charge = instrument.ledger.total_charge_e
    took = time.monotonic() - began
    assert not instrument.is_blanked
    assert scan.charge_e(instrument.current_pa, 0.04) <= charge <= scan.charge_e(instrument.current_pa, took + 0.01)
    fov = microscope.scan_source.scan_context.fov_nm
    assert instrument.ledger.entries[-1].center_nm == pytest.approx((-0.25 * fov, 0.25 * fov))
    assert instrument.safe_state().is_blanked is False, "the user chose to park"
    instrument.rest = "blanked"
    assert instrument.is_blanked


def test_the_budget_blocks_every_scan_until_it_is_overridden(microscope: Any) -> None:
    instrument = microscope.instrument
    parameters = microscope.parameters()
    dose = instrument.exposure(parameters).total_dose_with_overhead
    instrument.ledger.budget = scan.DoseBudget(total_dose=1.5 * dose)
    microscope.record(parameters)
    charge = instrument.ledger.total_charge_e
    microscope.device.set_frame_parameters(parameters)
    with pytest.raises(StreamError, match="budget"):
        microscope.device.start_frame(False)
    assert instrument.is_blanked
    assert instrument.ledger.total_charge_e == charge
    instrument.override_budget("the last grain of this powder")
    microscope.record(parameters)
    assert instrument.ledger.total_charge_e == pytest.approx(2 * charge)
    assert instrument.ledger.overrides[0].reason == "the last grain of this powder"


def test_what_an_acquisition_changed_is_restored(microscope: Any) -> None:
    instrument, source = microscope.instrument, microscope.scan_source
    before = source.get_current_frame_parameters().as_dict()

    def careless() -> None:
        instrument.controls.set_value("BeamCurrent", 5e-12)
        source.set_current_frame_parameters(microscope.parameters((8, 8)))
        microscope.record(microscope.parameters((8, 8)))
        instrument.gate.begin_view("forgotten")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), instrument.acquiring("survey"):
        careless()
    assert instrument.current_pa == pytest.approx(0.5)
    assert source.get_current_frame_parameters().as_dict() == before | {"subscan_rotation": 0.0}
    assert instrument.is_blanked
    assert "ZeroDivisionError" in instrument.last_safe_state.reason
    assert set(instrument.ledger.totals) == {"survey"}


def test_new_optics_are_waited_for(microscope: Any) -> None:
    instrument = microscope.instrument
    old = instrument.stage.current
    instrument.controls.set_value("C10", -20e-9)
    assert instrument.stage.latest is old or instrument.stage.current is not old
    microscope.record(microscope.parameters())
    scene = instrument.stage.current
    assert scene is not None
    assert scene.bank.beam.aberrations == {"C10": pytest.approx(-20)}
    assert "ready" in instrument.stage.status


def test_impossible_optics_are_said_and_expose_nothing(microscope: Any) -> None:
    instrument = microscope.instrument
    instrument.controls.set_value("ConvergenceAngle", 0.09)
    microscope.device.set_frame_parameters(microscope.parameters())
    with pytest.raises(ParameterError, match="mrad"):
        microscope.read_frame()
    assert instrument.is_blanked
    assert instrument.ledger.total_charge_e == 0


def test_all_channels_can_be_read(microscope: Any) -> None:
    parameters = microscope.parameters((8, 8))
    parameters.enabled_channel_indexes = list(range(len(CHANNELS)))
    assert len(microscope.record(parameters)) == len(CHANNELS)
