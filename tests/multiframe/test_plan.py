"""Regions, orders, figures: a series costs what `scan.Exposure` says, and goes where the region was drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from esteemcore import io, multiframe, scan
from esteemcore.errors import ParameterError

SIZE = st.floats(1.0, 500.0)
PIXEL = st.floats(0.01, 1.0)


@given(SIZE, SIZE, PIXEL)
def test_a_region_keeps_the_pixel_and_grows_by_less_than_one(height: float, width: float, pixel: float) -> None:
    assume((height / pixel + 1) * (width / pixel + 1) < 2**26)
    region = multiframe.fit_region((height, width), pixel)
    assert region.pixel_size_nm == pixel
    for drawn, got in zip((height, width), region.fov_nm, strict=True):
        assert -1e-5 * pixel <= got - drawn < pixel


def test_a_region_that_fits_does_not_grow() -> None:
    assert multiframe.fit_region((6.4, 3.2), 0.1).shape == (64, 32)
    assert multiframe.fit_region((6.4 * (1 + 1e-12), 3.2), 0.1).shape == (64, 32)


def test_a_region_smaller_than_a_pixel_is_refused_in_words() -> None:
    with pytest.raises(ParameterError, match="smaller than a pixel of"):
        multiframe.fit_region((10, 0.4), 0.5)


def test_zero_current_is_refused_in_words() -> None:
    with pytest.raises(ParameterError, match="neither doses nor a signal"):
        multiframe.SeriesSettings(current_pa=0, dwell_s=1e-5)


@pytest.mark.parametrize("rotation_deg", [0.0, 30.0])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_virgin_areas_do_not_touch(count: int, rotation_deg: float) -> None:
    region = multiframe.Region((20, 10), 0.5, (3, -7), rotation_deg)
    areas = multiframe.virgin_areas(region, count, gap_nm=2.0)
    assert areas[0] == region
    assert len(areas) == count
    turn = np.deg2rad(-rotation_deg)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places = [back @ np.subtract(area.center_nm, region.center_nm) for area in areas]
    for i, one in enumerate(places):
        for other in places[:i]:
            dy, dx = np.abs(one - other)
            assert dy >= 10 + 2 - 1e-9 or dx >= 5 + 2 - 1e-9
    steps = [np.hypot(*(b - a)) for a, b in itertools.pairwise(places)]
    assert all(step <= 12 + 1e-9 for step in steps)  # from neighbour to neighbour


@pytest.mark.parametrize("order", multiframe.ORDERS)
@pytest.mark.parametrize("frame", range(5))
def test_each_frame_visits_each_place_once(order: str, frame: int) -> None:
    visits = multiframe.frame_order((5, 7), order, frame, seed=3).visits
    assert visits.shape == (5, 7)
    assert np.array_equal(np.sort(visits.order), np.arange(35))


def test_a_turned_scan_is_where_its_rotation_says() -> None:
    """Each place of the turned scan, rotated as the region's convention says, is the pixel that it lands in."""
    for turns in range(4):
        order = multiframe.frame_order((4, 7), "turned raster", turns)
        shape = np.array(order.shape)
        turned = np.indices(order.shape).reshape(2, -1).T - (shape - 1) / 2
        angle = np.deg2rad(order.rotation_deg)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        on_region = np.rint(turned @ rotation.T + (np.array([4, 7]) - 1) / 2).astype(int)
        image = np.arange(28).reshape(order.shape)
        upright = order.upright(image)
        assert np.array_equal(upright[tuple(on_region.T)], image.reshape(-1))
        assert np.array_equal(order.visits.order, on_region @ [7, 1])


def test_shuffled_frames_differ_and_repeat_by_seed() -> None:
    first, second = (multiframe.frame_order((8, 8), "shuffled", k, seed=5).visits.order for k in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(second, multiframe.frame_order((8, 8), "shuffled", 1, seed=5).visits.order)


def plan_of(**settings: object) -> multiframe.SeriesPlan:
    values = {"current_pa": 17.0, "dwell_s": 1e-3, "frames": 230, "flyback_s": 5e-3} | settings
    region = multiframe.fit_region((11.2, 5.6), 0.056)
    signals = {"adf": io.SeriesSignal(region.shape, np.float32)}
    return multiframe.SeriesPlan(region, multiframe.SeriesSettings(**values), signals)  # type: ignore[arg-type]


def test_figures_are_those_of_the_exposure() -> None:
    plan = plan_of(scan_overhead_s=0.3, write_overhead_s=0.2)
    direct = scan.Exposure(17, 1e-3, 0.056, (200, 100), frames=230, flyback_s=5e-3, frame_overhead_s=0.5)
    for name in (
        "frame_time_s", "series_time_s", "dose_per_frame", "total_dose", "total_dose_with_overhead",
        "dose_rate_frame", "dose_rate_series", "pixel_charge_e",
    ):  # fmt: skip
        assert getattr(plan.figures, name) == pytest.approx(getattr(direct, name), rel=1e-12), name
    assert plan.figures.bytes_per_frame == 4 * 200 * 100
    assert plan.figures.total_bytes == 230 * 4 * 200 * 100
    beam_on_s = 230 * 200 * (100 * 1e-3 + 5e-3)
    area = 11.2 * 5.6 * 100
    assert plan.figures.total_dose_blanked_between == pytest.approx(scan.charge_e(17, beam_on_s) / area)


def test_subpixels_share_the_dwell() -> None:
    one, four = plan_of().figures, plan_of(subpixels=4).figures
    assert four.total_dose == pytest.approx(one.total_dose)
    assert four.pixel_charge_e == pytest.approx(one.pixel_charge_e)
    assert four.bytes_per_frame == one.bytes_per_frame
    assert four.frame_time_s - one.frame_time_s == pytest.approx(3 * 200 * 5e-3)  # four times as many lines
    image = np.arange(36.0).reshape(6, 6)
    assert multiframe.sum_subpixels(image, 3, np.float32).tolist() == [[63, 90], [225, 252]]


def test_a_turned_raster_has_the_lines_of_its_frames() -> None:
    plan = plan_of(order="turned raster", frames=3)
    lines = sum(len(plan.order(k).visits.line_starts) for k in range(3))
    assert lines == 200 + 100 + 200
    assert plan.figures.series_time_s == pytest.approx(3 * 20_000 * 1e-3 + lines * 5e-3)


def test_areas_take_time_and_space_not_dose() -> None:
    one, three = plan_of().figures, plan_of(areas=3).figures
    assert three.total_dose == one.total_dose
    assert three.series_time_s == pytest.approx(3 * one.series_time_s)
    assert three.total_bytes == 3 * one.total_bytes


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        (scan.DoseBudget(total_dose=7e7), "total dose"),
        (scan.DoseBudget(dose_rate=1e3), "dose rate"),
        (scan.DoseBudget(pixel_charge_e=1e5), "pixel charge"),
    ],
)
@pytest.mark.parametrize("subpixels", [1, 4])
def test_a_budget_is_checked(budget: scan.DoseBudget, word: str, subpixels: int) -> None:
    plan = plan_of(subpixels=subpixels)
    assert plan.exceeded(scan.DoseLedger()) == ()
    (said,) = plan.exceeded(scan.DoseLedger(budget=budget))
    assert said.startswith(word)


def test_time_between_frames_is_no_dose() -> None:
    plan = plan_of(frames=5, scan_overhead_s=30.0, write_overhead_s=60.0)
    figures = plan.figures
    assert figures.total_dose_with_overhead > 2 * figures.total_dose_blanked_between
    for share, count in ((1.01, 0), (0.99, 1)):
        budget = scan.DoseBudget(total_dose=share * figures.total_dose_blanked_between)
        assert len(plan.exceeded(scan.DoseLedger(budget=budget))) == count


def test_a_neighbour_that_had_its_dose_is_seen() -> None:
    plan = plan_of(areas=2, frames=1)
    ledger = scan.DoseLedger(budget=scan.DoseBudget(total_dose=1.5 * plan.figures.total_dose_with_overhead))
    assert plan.exceeded(ledger) == ()
    second = plan.areas[1]
    ledger.add_exposure(plan.exposure, second.center_nm, kind="live view")
    assert len(plan.exceeded(ledger)) == 1
    mean, highest, kinds = multiframe.spent(ledger, second)
    assert mean == pytest.approx(plan.figures.total_dose_with_overhead, rel=0.05)  # cells at the edge
    assert highest >= mean * 0.99
    assert kinds == {"live view": pytest.approx(plan.exposure.total_charge_e)}
    assert multiframe.spent(ledger, plan.areas[0].moved((-100, -100)))[0] == 0


def test_more_areas_than_a_session_can_hold_are_refused() -> None:
    assert len(plan_of(areas=multiframe.settings.MOST_AREAS).areas) == multiframe.settings.MOST_AREAS
    with pytest.raises(ParameterError, match="areas is 1000000000; expected an integer >= 1 and <= 1000"):
        plan_of(areas=10**9)


def test_settings_survive_json() -> None:
    settings = multiframe.SeriesSettings(current_pa=3, dwell_s=1e-5, order="shuffled", seed=4)
    assert multiframe.SeriesSettings.from_dict(settings.as_dict()) == settings
    with pytest.raises(ParameterError, match="cannot be read"):
        multiframe.SeriesSettings.from_dict({"current": 1})
