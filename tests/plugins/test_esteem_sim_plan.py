"""Plans, fields, pacing, blanker and memory of the simulator, without Nion's acquisition."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from esteem_sim import field_of, optics, scan_parameters
from esteem_sim.beam_gate import BeamGate
from esteem_sim.calibrations import DiffractionCalibrator
from esteem_sim.controls import Controls
from esteem_sim.frame_memory import FrameMemory
from esteem_sim.pacing import Pacer
from hypothesis import given
from hypothesis import strategies as st
from nion.instrumentation import camera_base, scan_base
from nion.utils import Geometry

from esteemcore import scan, simulate
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_scan.scan_plan import PATTERNS, ScanPlan, synchronized


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_plan_survives_nions_parameters_and_json(pattern: str) -> None:
    plan = ScanPlan(pattern=pattern, seed=5, step=3, blank="positions", settle_us=2.0)
    parameters = scan_parameters(pixel_size=(12, 10))
    plan.put(parameters)
    stored = json.loads(json.dumps(copy.deepcopy(parameters).as_dict()))
    assert ScanPlan.of(parameters) == plan
    assert ScanPlan.of(stored) == plan
    assert set(plan.visits((12, 10)).order) == set(range(120))


def test_orders_are_those_of_the_core() -> None:
    shape = (13, 9)
    assert np.array_equal(ScanPlan("shuffled", seed=3).visits(shape).order, scan.shuffled(shape, seed=3).order)
    assert np.array_equal(ScanPlan("shuffled", seed=3, frame=2).visits(shape).order, scan.shuffled(shape, 5).order)
    fixed = ScanPlan("shuffled", seed=3, frame=2, reseed=False)
    assert np.array_equal(fixed.visits(shape).order, scan.shuffled(shape, 3).order)
    sparse = ScanPlan("sparse", seed=3, fraction=0.2, method="jittered").visits(shape)
    assert np.array_equal(sparse.order, scan.sparse(shape, 0.2, seed=3, method="jittered").order)
    assert np.array_equal(ScanPlan("hilbert").visits(shape).order, scan.hilbert(shape).order)


@pytest.mark.parametrize(
    "wrong", [{"pattern": "zigzag"}, {"fraction": 0.0}, {"fraction": 0.5}, {"blank": "often"}, {"settle_us": -1.0}]
)
def test_wrong_plans_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        ScanPlan(**wrong)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ParameterError, match="speed"):
        ScanPlan.of({"esteem_scan": {"speed": 3}})


@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    fraction=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_the_container_of_a_sparse_scan_holds_its_visits(shape: tuple[int, int], fraction: float, seed: int) -> None:
    parameters = scan_parameters(pixel_size=shape, fov_nm=5.0)
    ScanPlan("sparse", fraction=fraction, seed=seed).put(parameters)
    changed, pattern = synchronized(parameters)
    size = changed.scan_size
    assert size.height * size.width == len(pattern)
    assert pattern.shape == shape
    again = ScanPlan.of(changed).visits((size.height, size.width))
    assert np.array_equal(again.order, pattern.order)
    assert parameters.pixel_size == Geometry.IntSize(*shape)
    # and it is the same place on the specimen
    assert field_of(changed, (0.0, 0.0)) == field_of(parameters, (0.0, 0.0))


# fields ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (8, 16), (16, 8)])
@pytest.mark.parametrize("is_subscan", [False, True])
def test_places_agree_with_nions_calibrations(shape: tuple[int, int], is_subscan: bool) -> None:
    parameters = scan_parameters(pixel_size=shape, fov_nm=4.0)
    if is_subscan:
        parameters.subscan_pixel_size = (5, 6)
        parameters.subscan_fractional_size = (0.25, 0.5)
        parameters.subscan_fractional_center = (0.3, 0.6)
    rows, columns = scan_base.get_scan_calibrations(parameters)
    pixels = np.array([[0.0, 0.0], [3.0, 4.0]])
    places = field_of(parameters, (0.0, 0.0)).on_specimen(pixels)
    # Nion's pixel i spans i to i + 1
    expected = [(rows.convert_to_calibrated_value(y + 0.5), columns.convert_to_calibrated_value(x + 0.5))
                for y, x in pixels]  # fmt: skip
    assert np.allclose(places, expected)


def test_a_turned_scan_turns_about_its_centre() -> None:
    parameters = scan_parameters(pixel_size=(9, 9), fov_nm=9.0)
    parameters.rotation_rad = math.radians(30)
    field = field_of(parameters, (2.0, -1.0))
    middle, right = field.on_specimen([[4.0, 4.0], [4.0, 5.0]])
    expected = Geometry.FloatPoint(y=0.0, x=1.0).rotate(parameters.rotation_rad)
    assert np.allclose(middle, (2.0, -1.0))
    assert np.allclose(right - middle, (expected.y, expected.x))
    assert field.rotation_deg == pytest.approx(-30)
    assert np.allclose(right, simulate.scan_to_specimen([[0.0, 1.0]], field.rotation_deg, (2.0, -1.0))[0])


def test_a_line_scan_runs_from_its_start_to_its_end() -> None:
    start, end = Geometry.FloatPoint(y=0.2, x=0.3), Geometry.FloatPoint(y=0.7, x=0.8)
    parameters = scan_parameters(pixel_size=(100, 100), fov_nm=10.0)
    length = math.hypot(0.5, 0.5)
    parameters.subscan_pixel_size = (1, 1000)
    parameters.subscan_fractional_size = (0.01, length)
    parameters.subscan_fractional_center = (0.45, 0.55)
    parameters.subscan_rotation = -math.atan2(end.y - start.y, end.x - start.x)
    first, last = field_of(parameters, (0.0, 0.0)).on_specimen([[0, -0.5], [0, 999.5]])
    assert np.allclose(first, ((start.y - 0.5) * 10, (start.x - 0.5) * 10))
    assert np.allclose(last, ((end.y - 0.5) * 10, (end.x - 0.5) * 10))


def test_sections_of_a_sparse_scan_are_refused() -> None:
    parameters = scan_parameters(pixel_size=(8, 8))
    ScanPlan("sparse", fraction=0.5, grid=(8, 8)).put(parameters)
    parameters.subscan_pixel_size, parameters.subscan_type_partial = (4, 8), True
    with pytest.raises(ParameterError, match="sections"):
        field_of(parameters, (0.0, 0.0))


# pacing ---------------------------------------------------------------------------------------------------------


def test_pacing_never_drifts_and_catches_up() -> None:
    clock = FakeClock()
    pacer = Pacer(100_000, period_s=80e-6, clock=clock)
    assert pacer.due() == 0
    pacer.start()
    delivered = 0
    for pause in [0.0011, 0.0007, 0.0123, 0.3, 0.0001] * 20:
        clock.now += pause
        delivered = pacer.due()
    assert delivered == pytest.approx((clock.now - 100.0) / 80e-6, abs=1)
    clock.now += 1000
    assert pacer.due() == 100_000


def test_pacing_follows_the_schedule_of_a_scan() -> None:
    pattern = scan.raster((3, 4))
    clock = FakeClock()
    due_s = scan.visit_times(pattern, 1.0, flyback_s=5.0) + 1.0
    pacer = Pacer(12, due_s=due_s, clock=clock)
    pacer.start()
    for after, due in ((0.5, 0), (4.2, 4), (8.9, 4), (10.5, 5), (100.0, 12)):
        clock.now = 100.0 + after
        assert pacer.due() == due


# blanker --------------------------------------------------------------------------------------------------------


def test_the_blanker_charges_only_a_resting_beam() -> None:
    clock, charged = FakeClock(), []
    gate = BeamGate(lambda kind, seconds: charged.append((kind, seconds)), clock)
    assert gate.is_blanked
    clock.now += 10
    gate.begin_view("view")
    assert not gate.is_blanked
    clock.now += 2
    gate.begin_scan()  # the scan moves the beam and charges for itself
    clock.now += 5
    gate.end_scan()
    clock.now += 1
    gate.end_view("view")
    assert gate.is_blanked
    gate.rest = "parked"
    clock.now += 3
    assert not gate.is_blanked
    gate.shut(True)
    clock.now += 7
    assert gate.is_blanked
    gate.rest = "blanked"
    gate.shut(False)
    clock.now += 9
    gate.settle()
    assert charged == [("view", 2.0), ("view", 1.0), ("parked", 3.0)]


def test_a_held_beam_stays_on_between_frames_only() -> None:
    gate = BeamGate(lambda kind, seconds: None)
    gate.begin_scan()
    gate.end_scan(hold=True)
    assert not gate.is_blanked
    gate.release()
    assert gate.is_blanked


# optics, calibrations and memory ----------------------------------------------------------------------------------


def test_controls_become_the_beam() -> None:
    controls = Controls()
    for name, value in (("EHT", 80e3), ("ConvergenceAngle", 25e-3), ("C10", -30e-9), ("C12.x", 3e-9), ("C12.y", 4e-9)):
        assert controls.set_value(name, value)
    beam = optics.beam(controls)
    assert (beam.energy_kev, beam.semiangle_mrad) == (80, pytest.approx(25))
    assert beam.aberrations["C10"] == pytest.approx(-30)
    magnitude, azimuth = beam.aberrations["C12"]
    assert magnitude == pytest.approx(5)
    assert magnitude * np.exp(2j * azimuth) == pytest.approx(3 + 4j)


def test_unknown_controls_and_values_that_are_not_numbers_are_refused() -> None:
    controls = Controls()
    assert not controls.set_value("Warp", 9.0)
    assert not controls.set_value("C10", math.nan)
    assert controls.get_value("Warp") is None
    assert controls.get_value("C10") == 0.0


def test_packed_frames_have_the_angles_of_their_bytes() -> None:
    detector = simulate.Detector((256, 256), pixel_mrad=0.2)
    calibrator = DiffractionCalibrator(lambda: detector)
    parameters = camera_base.CameraFrameParameters()
    rows, columns = calibrator.get_signal_calibrations(parameters, (256, 256))
    packed_rows, packed_columns = calibrator.get_signal_calibrations(parameters, (256, 32))
    assert (rows.units, packed_columns.units) == ("mrad", "mrad")
    assert rows.convert_to_calibrated_value(128) == columns.convert_to_calibrated_value(128) == 0
    assert packed_rows.scale == rows.scale
    assert packed_columns.convert_to_calibrated_value(16) == 0
    assert packed_columns.scale == pytest.approx(8 * columns.scale)


def test_a_long_run_keeps_only_its_newest_frames() -> None:
    memory = FrameMemory((4096, 256, 32), np.uint8, keep_bytes=2**20)
    memory.array[...] = 1
    memory.forget(memory.array.nbytes)
    still = memory.array.any(axis=(1, 2))
    assert still[-128:].all()
    assert not still[:-256].any()
    whole = FrameMemory((64, 256, 32), np.uint8, keep_all=True, keep_bytes=1)
    whole.array[...] = 1
    whole.forget(whole.array.nbytes)
    assert whole.array.all()
