"""Synchronized acquisitions: every frame at its place, in any order; what remains after an abort or a fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nion.utils import Geometry

from esteemcore import events, fourd, scan, simulate, stream
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan, synchronized


@pytest.fixture
def unpaced(microscope: Any) -> Any:
    microscope.camera.is_paced = False
    return microscope


PLANS = [
    {"pattern": "raster"},
    {"pattern": "shuffled", "seed": 7},
    {"pattern": "hilbert"},
    {"pattern": "sparse", "seed": 3, "fraction": 0.3, "method": "poisson_disk"},
    {"pattern": "sparse", "seed": 3, "fraction": 0.27},
    {"pattern": "shuffled", "seed": 1, "fraction": 0.5},
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: "-".join(map(str, plan.values())))
def test_every_frame_is_at_its_place(unpaced: Any, plan: dict[str, Any]) -> None:
    instrument = unpaced.instrument
    parameters, pattern = synchronized(unpaced.parameters((16, 20), **plan))
    sink = unpaced.sink(parameters)
    blanked: list[bool] = []
    sink.on_frames = lambda frames: blanked.append(instrument.is_blanked)
    assert unpaced.grab(parameters, sink) == []

    assert np.array_equal(sink.visits[0].reshape(16, 20), pattern.mask)
    expected = np.zeros((320, 256, 32), np.uint8)
    expected[pattern.order] = unpaced.expected_frames(parameters, pattern)
    assert np.array_equal(sink.arrays["camera"][0], expected)
    assert expected[pattern.order].any(axis=(1, 2)).all()
    assert not sink.arrays["1"][0][~pattern.mask.ravel()].any()

    assert instrument.is_blanked
    assert not unpaced.device.is_scanning
    planned = instrument.exposure(parameters, dwell_s=80e-6)
    assert instrument.ledger.totals == {"acquisition": pytest.approx(planned.total_charge_e)}


def test_bright_field_of_scan_device_and_camera_agree(unpaced: Any) -> None:
    unpaced.instrument.controls.set_value("BeamCurrent", 3e-12)
    unpaced.instrument.stage.select("srtio3", 5.0)
    parameters, _ = synchronized(unpaced.parameters((16, 16), pattern="shuffled"))
    sink = unpaced.sink(parameters)
    assert unpaced.grab(parameters, sink) == []
    frames = events.unpack_bits(sink.arrays["camera"][0], 256)
    radius = np.hypot(*np.indices((256, 256)) - np.array([128, 128])[:, None, None]) * 15 / 96
    counted = frames[:, radius < 7.5].sum(axis=1)
    assert np.corrcoef(counted, sink.arrays["1"][0])[0, 1] > 0.5


def test_metadata_tell_order_and_calibrations(unpaced: Any) -> None:
    parameters, pattern = synchronized(unpaced.parameters((16, 16), pattern="sparse", seed=5, fraction=0.5))
    sink = unpaced.sink(parameters)
    unpaced.grab(parameters, sink)
    stored = sink.metadata["camera"]
    plan = ScanPlan.of(stored.metadata["scan"]["scan_device_parameters"])
    assert np.array_equal(plan.visits((1, 1)).order, pattern.order)
    assert stored.metadata["hardware_source"]["packed"] is True
    assert stored.metadata["hardware_source"]["frame_shape"] == [256, 256]
    assert [c.units for c in stored.dimensional_calibrations] == ["nm", "nm", "mrad", "mrad"]
    assert stored.dimensional_calibrations[3].scale == pytest.approx(8 * 15 / 96)
    geometry = unpaced.instrument.geometry(parameters)
    assert geometry.step_nm == pytest.approx((0.05, 0.05))
    assert geometry.pixel_pair_mrad == pytest.approx((15 / 96, 15 / 96))
    assert (geometry.beam_energy_kev, geometry.semiangle_mrad) == (200, pytest.approx(15))


def test_every_frame_of_a_series_has_its_own_order(unpaced: Any) -> None:
    parameters, _ = synchronized(unpaced.parameters((8, 8), pattern="shuffled", seed=11))
    sink = unpaced.sink(parameters, count=3)
    assert unpaced.grab(parameters, sink, scan_count=3) == []
    assert (sink.visits == 1).all()
    orders = [pattern.order.tolist() for pattern in sink.patterns]
    assert orders == [scan.shuffled((8, 8), seed=11 + k).order.tolist() for k in range(3)]
    last = np.zeros((64, 256, 32), np.uint8)
    last[orders[2]] = unpaced.expected_frames(parameters, sink.patterns[2])
    assert np.array_equal(sink.arrays["camera"][2], last)
    (entry,) = unpaced.instrument.ledger.entries
    assert entry.count == 3
    # a second acquisition begins again with the first order
    again = unpaced.sink(parameters)
    unpaced.grab(parameters, again)
    first = np.zeros((64, 256, 32), np.uint8)
    first[orders[0]] = unpaced.expected_frames(parameters, sink.patterns[0])
    assert np.array_equal(again.arrays["camera"][0], first)


def test_a_turned_subscan_is_drawn_where_it_lies(unpaced: Any) -> None:
    parameters = unpaced.parameters((32, 32), pattern="shuffled", seed=2)
    parameters.rotation_rad = 0.3
    parameters.subscan_pixel_size = (10, 12)
    parameters.subscan_fractional_size = (0.25, 0.375)
    parameters.subscan_fractional_center = (0.4, 0.7)
    parameters, pattern = synchronized(parameters)
    sink = unpaced.sink(parameters)
    assert unpaced.grab(parameters, sink) == []
    expected = np.zeros((120, 256, 32), np.uint8)
    expected[pattern.order] = unpaced.expected_frames(parameters, pattern)
    assert np.array_equal(sink.arrays["camera"][0], expected)
    center = Geometry.FloatPoint(y=-0.1 * 1.6, x=0.2 * 1.6).rotate(0.3)
    assert unpaced.instrument.ledger.entries[0].center_nm == pytest.approx((center.y, center.x))
    assert unpaced.instrument.geometry(parameters).rotation_deg == pytest.approx(-np.rad2deg(0.3))


def test_sections_are_ordered_one_by_one(unpaced: Any) -> None:
    parameters, _ = synchronized(unpaced.parameters((12, 8), pattern="shuffled", seed=2))
    sink = unpaced.sink(parameters)
    assert unpaced.grab(parameters, sink, section_height=4) == []
    assert sink.frames == 96
    centers = [entry.center_nm[0] for entry in unpaced.instrument.ledger.entries]
    assert centers == pytest.approx([-0.2, 0.0, 0.2])


def test_plain_frames_for_nions_own_panels(unpaced: Any) -> None:
    parameters, pattern = synchronized(unpaced.parameters((8, 8)))
    camera_parameters = unpaced.camera_parameters(packed=False)
    scans, cameras = unpaced.scan_source.grab_synchronized(
        scan_frame_parameters=parameters, camera=unpaced.camera_source, camera_frame_parameters=camera_parameters
    )
    expected = events.unpack_bits(unpaced.expected_frames(parameters, pattern), 256)
    assert cameras[0].data.dtype == np.float32
    assert np.array_equal(cameras[0].data.reshape(64, 256, 256), expected)
    assert scans[0].data_shape == (8, 8)


def test_new_optics_are_used_by_the_very_next_acquisition(unpaced: Any) -> None:
    unpaced.instrument.controls.set_value("C10", -15e-9)
    parameters, pattern = synchronized(unpaced.parameters((8, 8)))
    sink = unpaced.sink(parameters)
    assert unpaced.grab(parameters, sink) == []
    assert unpaced.instrument.stage.current.bank.beam.aberrations == {"C10": pytest.approx(-15)}
    assert np.array_equal(sink.arrays["camera"][0], unpaced.expected_frames(parameters, pattern))


@pytest.mark.parametrize("rotation_rad", [0.0, 0.9])
def test_the_geometry_of_the_instrument_gives_the_phase(unpaced: Any, rotation_rad: float) -> None:
    instrument = unpaced.instrument
    instrument.controls.set_value("BeamCurrent", 5e-12)
    parameters = unpaced.parameters((32, 32), pattern="shuffled", seed=4)
    parameters.rotation_rad = rotation_rad
    parameters, pattern = synchronized(parameters)
    sink = unpaced.sink(parameters)
    assert unpaced.grab(parameters, sink) == []
    data = sink.arrays["camera"][0].reshape(32, 32, 256, 32)
    pixels = np.argwhere(pattern.mask)

    def correlation(geometry: fourd.Geometry, shift_px: tuple[float, float] = (0.0, 0.0)) -> float:
        spec = stream.Spec((32, 32), (256, 256), np.dtype(np.uint8), packed=True)
        reducers = {"ssb": fourd.SingleSideband(geometry)}
        phase = stream.run(reducers, spec, stream.chunks(data, packed_kx=256))["ssb"].phase
        places = instrument.field(parameters).on_specimen(pixels + shift_px)
        truth = simulate.phase_truth(instrument.stage.specimen, 200, places, max_angle_mrad=24)
        return float(np.corrcoef(phase.ravel(), truth)[0, 1])

    geometry = instrument.geometry(parameters)
    found = correlation(geometry)
    assert found > 0.75  # atoms as sharp as the resolution
    assert max(correlation(geometry, shift) for shift in ((0.5, 0.0), (0.0, 0.5))) < found - 0.05
    if rotation_rad:
        assert correlation(dataclasses.replace(geometry, rotation_deg=-geometry.rotation_deg)) < 0.2


# aborts and faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["first", "last"])
def test_an_abort_charges_what_was_exposed(microscope: Any, when: str) -> None:
    instrument, camera = microscope.instrument, microscope.camera
    parameters, pattern = synchronized(microscope.parameters((100, 100), pattern="shuffled", blank="positions"))
    sink = microscope.sink(parameters)

    def abort(frames: int) -> None:
        if when == "first" or frames > len(pattern) - 400:
            microscope.scan_source.grab_synchronized_abort()

    sink.on_frames = abort
    assert microscope.grab(parameters, sink) == []
    assert instrument.is_blanked
    assert not microscope.device.is_scanning
    (entry,) = instrument.ledger.entries
    exposed = entry.charge_e / scan.charge_e(instrument.current_pa, 80e-6)
    assert exposed == pytest.approx(round(exposed))
    assert sink.frames <= round(exposed) <= len(pattern)
    assert entry.kind == ("acquisition" if round(exposed) == len(pattern) else "spoiled")
    if when == "first":
        assert exposed < len(pattern) / 2
    # and the next one works
    camera.is_paced = False
    sink = microscope.sink(parameters)
    assert microscope.grab(parameters, sink) == []
    assert sink.frames == len(pattern)


def test_an_abort_before_the_first_frame_costs_nothing(microscope: Any) -> None:
    source = microscope.scan_source
    listener = source.acquisition_state_changed_event.listen(
        lambda is_acquiring: source.grab_synchronized_abort() if is_acquiring else None
    )
    parameters, _ = synchronized(microscope.parameters((64, 64)))
    sink = microscope.sink(parameters)
    microscope.grab(parameters, sink)
    listener.close()
    assert sink.frames == 0
    assert microscope.instrument.is_blanked
    assert microscope.instrument.ledger.total_charge_e == 0


def fail_camera(microscope: Any) -> None:
    microscope.instrument.faults.camera_at = 300


def fail_scan(microscope: Any) -> None:
    microscope.instrument.faults.scan_at = 300


@pytest.mark.parametrize("fault", [fail_camera, fail_scan])
def test_a_fault_ends_blanked_with_its_reason(microscope: Any, fault: Callable[[Any], None]) -> None:
    instrument = microscope.instrument
    fault(microscope)
    parameters, pattern = synchronized(microscope.parameters((40, 40), pattern="shuffled", blank="positions"))
    sink = microscope.sink(parameters)
    errors = microscope.grab(parameters, sink)
    assert errors, "a fault is not an abort"
    assert any("after" in str(error) for error in errors)
    assert instrument.is_blanked
    assert not microscope.device.is_scanning
    (entry,) = instrument.ledger.entries
    assert entry.kind == "spoiled"
    exposed = entry.charge_e / scan.charge_e(instrument.current_pa, 80e-6)
    assert max(300, sink.frames) <= round(exposed) < len(pattern)
    assert exposed == pytest.approx(round(exposed))
    # once repaired, it works again
    instrument.faults.clear()
    microscope.camera.is_paced = False
    sink = microscope.sink(parameters)
    assert microscope.grab(parameters, sink) == []
    assert sink.frames == len(pattern)


def test_a_scan_that_does_not_fit_its_container_is_refused(unpaced: Any) -> None:
    parameters = unpaced.parameters((16, 16), pattern="sparse", fraction=0.5)
    sink = unpaced.sink(parameters)
    errors = unpaced.grab(parameters, sink)
    assert "esteem_scan.scan_plan.synchronized" in str(errors[0])
    assert unpaced.instrument.ledger.total_charge_e == 0
    assert unpaced.instrument.is_blanked


def test_the_budget_stops_a_synchronized_acquisition(unpaced: Any) -> None:
    unpaced.instrument.ledger.budget = scan.DoseBudget(pixel_charge_e=1.0)
    parameters, _ = synchronized(unpaced.parameters((8, 8)))
    sink = unpaced.sink(parameters)
    errors = unpaced.grab(parameters, sink)
    assert "budget" in str(errors[0])
    assert sink.frames == 0
    assert unpaced.instrument.last_safe_state.is_blanked
    assert unpaced.instrument.ledger.total_charge_e == 0
