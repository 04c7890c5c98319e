"""Doses and times against published figures and against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteemcore import scan
from esteemcore.errors import ParameterError

E = 1.602176634e-19
AZTS = {"current_pa": 17, "dwell_s": 1e-3, "pixel_size_nm": 0.056, "shape": (200, 200)}

exposures = st.builds(
    scan.Exposure,
    current_pa=st.floats(0.01, 1e3),
    dwell_s=st.floats(1e-7, 1),
    pixel_size_nm=st.one_of(st.floats(0.01, 10), st.tuples(st.floats(0.01, 10), st.floats(0.01, 10))),
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    frames=st.integers(1, 500),
    flyback_s=st.floats(0, 0.1),
    frame_overhead_s=st.floats(0, 10),
    settle_s=st.floats(0, 0.1),
    blanked=st.booleans(),
)


@pytest.mark.parametrize(("dwell_s", "electrons"), [(10e-3, 4.62e6), (2e-3, 9.24e5)])
def test_published_pixel_charge(dwell_s, electrons):
    exposure = scan.Exposure(current_pa=74, dwell_s=dwell_s, pixel_size_nm=0.026, shape=(256, 256))
    assert exposure.pixel_charge_e == pytest.approx(electrons, rel=1e-3)


def test_published_doses_and_times():
    frame = scan.Exposure(**AZTS, flyback_s=5e-3)
    assert frame.dose_per_frame == pytest.approx(3.383e5, rel=2e-4)
    assert frame.frame_time_s == pytest.approx(41)
    assert scan.Exposure(**AZTS, frame_overhead_s=1).frame_time_s == pytest.approx(41)
    series = scan.Exposure(**AZTS, frames=230, flyback_s=5e-3)
    assert series.total_dose == pytest.approx(230 * 17e-12 * 1e-3 / E / 0.56**2)
    assert series.series_time_s == pytest.approx(230 * 41)
    assert series.dose_rate_frame == pytest.approx(3.383e5 / 40, rel=2e-4)
    assert series.dose_rate_series == pytest.approx(3.383e5 / 41, rel=2e-4)
    assert series.total_dose_with_overhead == pytest.approx(17e-12 * 230 * 41 / E / 112**2)
    blanked = scan.Exposure(**AZTS, frames=230, flyback_s=5e-3, blanked=True)
    assert blanked.total_dose_with_overhead == blanked.total_dose


def test_fractionation_changes_the_pixel_charge_only():
    slow = scan.Exposure(current_pa=74, dwell_s=10e-3, pixel_size_nm=0.026, shape=(256, 256))
    fast = scan.Exposure(current_pa=74, dwell_s=2e-3, pixel_size_nm=0.026, shape=(256, 256), frames=5)
    assert fast.total_dose == pytest.approx(slow.total_dose)
    assert fast.dose_rate_series == pytest.approx(slow.dose_rate_series)
    assert fast.pixel_charge_e == pytest.approx(slow.pixel_charge_e / 5)


@given(exposure=exposures)
def test_laws(exposure):
    ny, nx = exposure.shape
    height, width = exposure.fov_nm
    area = height * width * 100
    line = nx * (exposure.dwell_s + exposure.settle_s) + exposure.flyback_s
    assert exposure.series_time_s == pytest.approx(exposure.frames * (ny * line + exposure.frame_overhead_s))
    assert exposure.total_dose == pytest.approx(exposure.frames * ny * nx * exposure.pixel_charge_e / area)
    # the instantaneous rate of a full frame is current over area, whatever the dwell time
    assert exposure.dose_rate_frame == pytest.approx(exposure.current_pa * 1e-12 / E / area)
    assert exposure.dose_rate_series <= exposure.dose_rate_frame * (1 + 1e-9)
    assert exposure.total_dose_with_overhead >= exposure.total_dose * (1 - 1e-9)
    assert exposure.dose_per_visit == pytest.approx(exposure.dose_per_frame)


@given(exposure=exposures, dose=st.floats(1e-3, 1e10))
def test_current_for_dose_is_the_inverse(exposure, dose):
    plan = {name: getattr(exposure, name) for name in ("dwell_s", "pixel_size_nm", "shape", "frames")}
    current = scan.current_for_dose(dose, **plan)
    assert scan.Exposure(current_pa=current, **plan).total_dose == pytest.approx(dose)


def test_a_raster_pattern_changes_nothing():
    for shape in ((7, 5), (7, 1), (1, 7)):
        rest = {"current_pa": 5, "dwell_s": 1e-4, "pixel_size_nm": 0.1, "shape": shape, "flyback_s": 1e-3, "frames": 2}
        plain, raster = scan.Exposure(**rest), scan.Exposure(**rest, pattern=scan.raster(shape))
        for name in ("total_dose", "total_dose_with_overhead", "series_time_s", "dose_rate_frame", "dose_rate_series"):
            assert getattr(plain, name) == pytest.approx(getattr(raster, name))


def test_a_sparse_scan_gives_its_part_of_the_dose_in_its_part_of_the_time():
    pattern = scan.sparse((200, 200), 0.1, seed=1)
    full, sparse = scan.Exposure(**AZTS), scan.Exposure(**AZTS, pattern=pattern, settle_s=1e-4)
    assert sparse.dose_per_frame == pytest.approx(0.1 * full.dose_per_frame)
    assert sparse.dose_per_visit == pytest.approx(full.dose_per_visit)
    assert sparse.dose_rate_frame == pytest.approx(full.dose_rate_frame)
    assert sparse.frame_time_s == pytest.approx(4000 * 1.1e-3)


@pytest.mark.parametrize("make", [scan.serpentine, scan.hilbert, scan.spiral, scan.shuffled])
def test_no_flyback_without_lines(make):
    exposure = scan.Exposure(**AZTS, flyback_s=5e-3, pattern=make((200, 200)))
    assert exposure.frame_time_s == pytest.approx(40)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("current_pa", "dwell_s", "pixel_size_nm") for value in (0, -1, np.nan, np.inf, "x")]
    + [(name, value) for name in ("flyback_s", "frame_overhead_s", "settle_s") for value in (-1, np.nan)]
    + [("frames", 0), ("frames", 1.5), ("shape", (0, 3)), ("shape", (3,)), ("pixel_size_nm", (1, 2, 3))]
    + [("pattern", scan.raster((2, 2))), ("pattern", "raster")],
)
def test_impossible_exposures(name, value):
    with pytest.raises(ParameterError, match=name):
        scan.Exposure(**(AZTS | {name: value}))


def test_rectangular_pixels():
    exposure = scan.Exposure(**(AZTS | {"pixel_size_nm": (0.1, 0.2), "shape": (10, 20)}))
    assert exposure.fov_nm == pytest.approx((1.0, 4.0))
    assert exposure.dose_per_frame == pytest.approx(exposure.pixel_charge_e / 2)


def test_a_pixel_size_from_an_array() -> None:
    values = {"current_pa": 1.0, "dwell_s": 1e-3, "shape": (4, 4)}
    single = scan.Exposure(pixel_size_nm=np.array(0.1), **values)
    assert single.total_dose == scan.Exposure(pixel_size_nm=0.1, **values).total_dose
    with pytest.raises(ParameterError, match="pair"):
        scan.Exposure(pixel_size_nm=np.ones((2, 2)), **values)
