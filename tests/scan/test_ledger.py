"""The dose ledger: every electron is on the map, where it fell, and the budget is never quietly exceeded."""

import json
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from esteemcore import scan
from esteemcore.errors import FormatError, ParameterError

places = st.tuples(st.floats(-5e3, 5e3), st.floats(-5e3, 5e3))
fields = st.tuples(st.floats(0.1, 5e3), st.floats(0.1, 5e3))
angles = st.one_of(st.just(0.0), st.floats(-180, 180))
charges = st.one_of(
    st.floats(0, 1e9),
    hnp.arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1e6)),
)


def plan(**changes):
    settings = {"current_pa": 10, "dwell_s": 1e-5, "pixel_size_nm": 0.1, "shape": (100, 80), "flyback_s": 1e-4}
    return scan.Exposure(**(settings | changes))


@given(st.lists(st.tuples(charges, places, fields, angles), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_charge_is_conserved(deposits):
    specimen = scan.DoseMap(cell_nm=0.5)
    for charge, center, fov, angle in deposits:
        specimen.deposit(charge, center, fov, angle)
    total = sum(float(np.sum(deposit[0])) for deposit in deposits)
    assert specimen.total_charge_e == pytest.approx(total, rel=1e-9, abs=1e-6)
    everywhere = (40e3, 40e3)
    assert specimen.mean((0, 0), everywhere) * 40e3**2 * 100 == pytest.approx(total, rel=1e-9, abs=1e-6)


@given(center=places, fov=fields, angle=angles)
@example(center=(0.0, 0.0), fov=(1.0, 1.0), angle=132.0)
@settings(max_examples=60, deadline=None)
def test_an_even_field_has_its_dose_inside_and_none_far_outside(center, fov, angle):
    specimen = scan.DoseMap(cell_nm=0.01)
    dose = 50.0
    specimen.deposit(dose * fov[0] * fov[1] * 100, center, fov, angle)
    cell = 0.01 * 2 ** max(0, np.ceil(np.log2(max(fov) / 2.56)))
    side = min(fov) / np.sqrt(2) - 3 * cell
    if side > 3 * cell:  # a square that lies inside at any angle
        assert specimen.mean(center, (side / 1.5, side / 1.5)) == pytest.approx(dose, rel=0.02)
        assert specimen.maximum(center, (side / 1.5, side / 1.5)) == pytest.approx(dose, rel=0.03)
    far = (center[0] + 2 * sum(fov), center[1])
    assert specimen.maximum(far, fov) == 0


def test_axis_aligned_deposits_are_exact():
    specimen = scan.DoseMap(cell_nm=1.0)
    charge = np.arange(12.0).reshape(3, 4)
    specimen.deposit(charge, (1.5, 2.0), (3, 4))
    np.testing.assert_allclose(specimen.image((1.5, 2.0), (3, 4), (3, 4)), charge / 100, atol=1e-12)
    assert specimen.maximum((1.5, 2.0), (3, 4)) == pytest.approx(0.11)


def test_rotation_turns_rows_and_columns_as_stated():
    """A hot spot at offset (row, column) = (0, 30) nm, turned by 90 degrees, lies at (-30, 0)."""
    charge = np.zeros((21, 21))
    charge[10, 20] = 1e6
    specimen = scan.DoseMap(cell_nm=1.0)
    specimen.deposit(charge, (100, 100), (63, 63), rotation_deg=90)
    assert specimen.mean((70, 100), (10, 10)) == pytest.approx(1e4 / 100)
    assert specimen.maximum((100, 130), (10, 10)) == 0


def test_small_and_large_fields_add_up_at_the_same_place():
    specimen = scan.DoseMap(cell_nm=0.25)
    specimen.deposit(1.0 * 1e4**2 * 100, (0, 0), (1e4, 1e4))  # a survey of 10 um, 1 e/A2
    specimen.deposit(100.0 * 8**2 * 100, (20, 20), (8, 8))  # a frame of 8 nm, 100 e/A2
    assert specimen.mean((20, 20), (8, 8)) == pytest.approx(101)
    assert specimen.maximum((0, 0), (1e4, 1e4)) == pytest.approx(101)
    assert specimen.mean((0, 0), (10, 10)) == pytest.approx(1)
    assert len(specimen._tiles) < 60


@given(frames=st.integers(1, 5), blanked=st.booleans(), angle=angles, fraction=st.sampled_from([None, 0.1, 0.5]))
@settings(max_examples=30, deadline=None)
def test_ledger_holds_what_the_exposure_says(frames, blanked, angle, fraction):
    pattern = None if fraction is None else scan.sparse((100, 80), fraction, seed=1)
    exposure = plan(frames=frames, blanked=blanked, pattern=pattern, frame_overhead_s=0.01)
    ledger = scan.DoseLedger()
    entry = ledger.add_exposure(exposure, (3, 4), rotation_deg=angle)
    area = exposure.fov_nm[0] * exposure.fov_nm[1] * 100
    assert entry.charge_e == pytest.approx(exposure.total_dose_with_overhead * area)
    assert entry.mean_dose == pytest.approx(exposure.total_dose_with_overhead)
    assert entry.duration_s == pytest.approx(exposure.series_time_s)
    assert ledger.total_charge_e == pytest.approx(entry.charge_e)
    assert ledger.dose_at((3, 4), (100, 100))[0] * 1e6 == pytest.approx(entry.charge_e)


def test_an_aborted_scan_adds_only_what_was_exposed():
    exposure = plan(blanked=True)
    visits = np.zeros((100, 80))
    visits[:50] = 1
    ledger = scan.DoseLedger()
    entry = ledger.add_exposure(exposure, (0, 0), visits=visits, kind="spoiled")
    assert entry.charge_e == pytest.approx(4000 * exposure.pixel_charge_e)
    assert ledger.dose_at((-2.5, 0), (5, 8))[0] == pytest.approx(exposure.dose_per_frame)
    assert ledger.dose_at((2.5, 0), (4.5, 8))[1] == 0
    assert ledger.totals == {"spoiled": entry.charge_e}


def test_time_beyond_the_visits_is_beam_on_unless_blanked():
    visits = np.ones((100, 80))
    for blanked, expected_s in ((False, 1.0), (True, 0.08)):
        entry = scan.DoseLedger().add_exposure(plan(blanked=blanked), (0, 0), visits=visits, elapsed_s=1.0)
        assert entry.charge_e == pytest.approx(scan.charge_e(10, expected_s))
        assert entry.duration_s == 1.0
    with pytest.raises(ParameterError, match="elapsed_s"):
        scan.DoseLedger().add_exposure(plan(), (0, 0), visits=visits, elapsed_s=0.01)


def test_a_live_view_is_one_entry():
    ledger = scan.DoseLedger()
    for _ in range(30):
        ledger.add(1e6, (0, 0), (20, 20), kind="live view", duration_s=0.1)
    ledger.add(1e6, (5, 0), (20, 20), kind="live view", duration_s=0.1)
    first, second = ledger.entries
    assert (first.count, first.charge_e, second.count) == (30, 30e6, 1)
    assert first.duration_s == pytest.approx(3)


def test_budget_speaks_before_the_dose_is_given():
    budget = scan.DoseBudget(total_dose=1.5 * plan().total_dose_with_overhead, dose_rate=1e4, pixel_charge_e=1e3)
    ledger = scan.DoseLedger(budget=budget)
    assert ledger.check(plan(), (0, 0)) == ()
    ledger.add_exposure(plan(), (0, 0))
    (total,) = ledger.check(plan(), (0, 0))
    assert total.startswith("total dose")
    assert ledger.check(plan(), (0, 50)) == ()
    (charge,) = ledger.check(plan(dwell_s=1e-4, shape=(500, 500), pixel_size_nm=1), (0, 500))
    assert charge.startswith("pixel charge")
    (rate,) = ledger.check(plan(current_pa=15, dwell_s=1e-6, flyback_s=0), (0, 500))
    assert rate.startswith("dose rate")


@given(shift=st.floats(-12, 12), angle=angles, frames=st.integers(1, 3), fraction=st.sampled_from([0.05, 1.0]))
@settings(max_examples=40, deadline=None)
def test_check_never_underestimates(shift, angle, frames, fraction):
    """What the map shows after an acquisition never exceeds what the check foresaw."""
    exposure = plan(frames=frames, pattern=scan.sparse((100, 80), fraction, seed=3))
    ledger = scan.DoseLedger()
    ledger.add_exposure(plan(), (0, 0))
    ledger.add_exposure(plan(shape=(200, 200)), (2, 2))
    after = scan.DoseLedger.load(ledger.dump())
    after.add_exposure(exposure, (shift, 1), rotation_deg=angle)
    reached = after.dose_at((shift, 1), (8, 8))[1]
    ledger.budget = scan.DoseBudget(total_dose=reached * 0.999)
    assert ledger.check(exposure, (shift, 1), rotation_deg=angle)


def test_override_is_recorded_with_its_reason():
    ledger = scan.DoseLedger(budget=scan.DoseBudget(pixel_charge_e=1))
    exceeded = ledger.check(plan(), (0, 0))
    with pytest.raises(ParameterError, match="reason"):
        ledger.override(exceeded, " ")
    ledger.override(exceeded, "test area at the edge")
    assert ledger.overrides[0].exceeded == exceeded
    assert ledger.overrides[0].reason == "test area at the edge"


def test_dump_and_load_through_json():
    ledger = scan.DoseLedger(cell_nm=0.5, budget=scan.DoseBudget(total_dose=1e3))
    ledger.add_exposure(plan(pattern=scan.sparse((100, 80), 0.2)), (-7, 3), rotation_deg=30, note="grain 2")
    ledger.add(1e9, (0, 0), (5000, 5000), kind="survey")
    ledger.override(("total dose",), "why not")
    again = scan.DoseLedger.load(json.loads(json.dumps(ledger.dump())))
    assert again.entries == ledger.entries
    assert again.overrides == ledger.overrides
    assert again.budget == ledger.budget
    assert again.dose_at((-7, 3), (10, 10)) == ledger.dose_at((-7, 3), (10, 10))
    np.testing.assert_array_equal(again.image((-7, 3), (10, 10), (16, 16)), ledger.image((-7, 3), (10, 10), (16, 16)))


@pytest.mark.parametrize("damage", [{"version": 99}, {"map": {}}, {"entries": [{}]}, {"budget": {"dose": 3}}])
def test_damaged_ledgers_are_refused(damage):
    with pytest.raises(FormatError):
        scan.DoseLedger.load(scan.DoseLedger().dump() | damage)


def test_two_threads_lose_nothing():
    ledger = scan.DoseLedger()

    def expose(kind):
        for _ in range(50):
            ledger.add(1e3, (0, 0), (30, 30), kind=kind)
            ledger.dose_at((0, 0), (30, 30))

    threads = [threading.Thread(target=expose, args=(kind,)) for kind in ("live view", "focusing")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.totals == {"live view": 50e3, "focusing": 50e3}
    assert ledger.dose_at((0, 0), (100, 100))[0] * 1e6 == pytest.approx(100e3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"charge": -1.0},
        {"charge": np.nan},
        {"charge": np.zeros((2, 2, 2))},
        {"center_nm": (0, np.inf)},
        {"center_nm": 3},
        {"fov_nm": (0, 1)},
        {"rotation_deg": np.nan},
        {"kind": ""},
        {"duration_s": -1},
    ],
)
def test_impossible_entries_change_nothing(arguments):
    ledger = scan.DoseLedger()
    with pytest.raises(ParameterError):
        ledger.add(**({"charge": 1.0, "center_nm": (0, 0), "fov_nm": (1, 1)} | arguments))
    assert ledger.entries == ()
    assert ledger.total_charge_e == 0


@given(angle=angles, shift=st.floats(-3, 3), height=st.floats(2, 30), width=st.floats(2, 30))
@settings(max_examples=12, deadline=None)
def test_dose_of_a_turned_field_inside_an_even_one(angle, shift, height, width):
    ledger = scan.DoseLedger()
    ledger.add(64e6, (0, 0), (64, 64), rotation_deg=17.0)
    mean, largest = ledger.dose_at((shift, 1), (height, width), rotation_deg=angle)
    assert mean == pytest.approx(64e6 / 640**2, rel=0.02)
    assert largest >= mean * (1 - 1e-9)


def test_a_turned_field_finds_its_own_charge():
    for angle in (0.0, 30.0, 45.0, 90.0, -120.0):
        ledger = scan.DoseLedger()
        ledger.add(1e6, (3, -4), (20, 10), rotation_deg=angle)
        mean, largest = ledger.dose_at((3, -4), (20, 10), rotation_deg=angle)
        assert mean == pytest.approx(1e6 / (20 * 10 * 100), rel=0.04)  # cells at the edge reach beyond the field
        assert largest == pytest.approx(1e6 / (20 * 10 * 100), rel=0.1)
        wider = ledger.dose_at((3, -4), (22, 12), rotation_deg=angle)[0]
        assert wider * 22 * 12 * 100 == pytest.approx(1e6, rel=1e-3)


def test_a_turned_field_leaves_the_corners_of_its_frame():
    ledger = scan.DoseLedger()
    ledger.add(1e4, (9, 9), (1, 1))
    assert ledger.dose_at((0, 0), (20, 20))[1] == pytest.approx(100)
    assert ledger.dose_at((0, 0), (20, 20), rotation_deg=45.0) == (0, 0)
    # the sign of the rotation: a long thin field along the diagonal of rising rows and columns, or the other one
    assert ledger.dose_at((0, 0), (30, 2), rotation_deg=-45.0) == (0, 0)
    assert ledger.dose_at((0, 0), (30, 2), rotation_deg=45.0) == pytest.approx((1e4 / (300 * 20), 100))


def test_a_right_angle_exchanges_height_and_width():
    ledger = scan.DoseLedger()
    ledger.add_exposure(plan(), (1, 2), rotation_deg=20.0)
    turned = ledger.dose_at((0.3, 0.2), (5, 9), rotation_deg=90.0)
    assert turned == pytest.approx(ledger.dose_at((0.3, 0.2), (9, 5)), rel=0.02)
