import doctest
import importlib
import threading

import numpy as np
import pytest
import series as make

from esteemcore import errors, register, scan, simulate

SHAPE = (96, 96)


@pytest.fixture(scope="module")
def scene():
    return make.lattice(SHAPE)


@pytest.fixture(scope="module")
def known(scene):
    """Twelve frames with drift and line jitter, 6 counts per sample."""
    rng = np.random.default_rng(3)
    moved = make.drift(12, SHAPE[0]) + make.jitter(rng, 12, SHAPE[0], 0.35)
    return make.sample(scene, moved, SHAPE, 6.0), moved


def limit_of_shift(scene, dose: float) -> float:
    """Cramér-Rao limit of a shift (sum over both axes, px) of one frame against a noiseless one."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    image = scene.at(y, x)
    gy, gx = np.gradient(image)
    return float(np.sqrt(sum(1 / (dose * (g**2 / image).sum()) for g in (gy, gx))))


# laws --------------------------------------------------------------------------------


def test_rigid_shifts_are_found_to_the_limit_of_the_counts(scene) -> None:
    rng = np.random.default_rng(0)
    true = make.drift(10, 1)[:, 0] + rng.normal(0, 0.7, (10, 2))
    frames = make.sample(scene, np.repeat(true[:, None], SHAPE[0], 1), SHAPE, 2.0)
    found = register.align(frames, "rigid")
    error = found.shifts - (true - true.mean(axis=0))
    error = np.sqrt(((error - error.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert found.accepted.all()
    assert error < 2.5 * limit_of_shift(scene, 2.0)
    assert found.field.shape == (10, SHAPE[0], 2)
    assert np.abs(found.field - found.shifts[:, None]).max() < 1e-5


def test_identical_frames_lie_on_each_other(scene) -> None:
    frames = make.sample(scene, np.zeros((4, SHAPE[0], 2)), SHAPE, None)
    for model in ("rigid", "scanline"):
        found = register.align(frames, model)
        assert found.accepted.all(), found.reasons
        assert np.abs(found.shifts).max() < 0.01
        assert np.sqrt((found.field[:, 6:-6] ** 2).mean()) < 0.01  # along the edge the blurred mean is one-sided
        assert np.nanmax(np.abs(found.mean - frames[0])) < 0.05 * frames[0].max()
        assert found.quality.min() > 0.99


def test_sign_is_that_of_the_simulated_distortion(scene) -> None:
    n, times = 6, np.arange(SHAPE[0]) * 1e-3
    distortion = simulate.ScanDistortion(line_jitter_px=(0.4, 0.6), seed=4)
    specimen = simulate.Drift((5.0, -3.0))
    rows = np.stack([np.arange(SHAPE[0]), np.zeros(SHAPE[0])], 1)
    moved = np.array(
        [distortion.displacement(times + k * 0.1, rows, k) + specimen.displacement(times + k * 0.1) for k in range(n)]
    )
    found = register.align(make.sample(scene, moved, SHAPE, 20.0))
    assert found.accepted.all(), found.reasons
    assert make.relative_error(found.field, moved) < 0.35 * make.relative_error(np.zeros_like(moved), moved)


def test_lines_are_found_far_better_than_by_a_perfect_rigid_shift(known) -> None:
    frames, moved = known
    found = register.align(frames)
    rigid = make.relative_error(np.repeat(moved.mean(axis=1, keepdims=True), SHAPE[0], 1), moved)
    assert found.accepted.all(), found.reasons
    assert make.relative_error(found.field, moved) < 0.55 * rigid


def test_the_mean_is_sharper_after_lines(known, scene) -> None:
    frames, _ = known
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)

    def likeness(alignment) -> float:
        inside = alignment.common_region
        truth = max(
            np.corrcoef(alignment.mean[inside], scene.at(y + a, x + b)[inside])[0, 1]
            for a in np.linspace(-0.4, 0.4, 5)
            for b in np.linspace(-0.4, 0.4, 5)
        )
        return float(truth)

    assert likeness(register.align(frames)) > likeness(register.align(frames, "rigid"))


def test_time_reversed_gives_the_same_places(known) -> None:
    frames, _ = known
    forward, backward = register.align(frames, "rigid"), register.align(frames[::-1], "rigid")
    assert np.abs(forward.shifts - backward.shifts[::-1]).max() < 0.05


def test_gain_and_offset_of_the_detector_do_not_matter(known) -> None:
    frames, moved = known
    plain, scaled = register.align(frames), register.align(frames * np.float32(1e-3) - 5.0)
    assert scaled.accepted.all(), scaled.reasons
    assert abs(make.relative_error(plain.field, moved) - make.relative_error(scaled.field, moved)) < 0.05


def test_the_common_region_is_what_all_frames_cover(scene) -> None:
    moved = make.drift(6, SHAPE[0], (2.0, 0.0))
    found = register.align(make.sample(scene, moved, SHAPE, 20.0), "rigid")
    rows = np.flatnonzero(found.common_region.any(axis=1))
    reach = found.shifts[:, 0].max()
    assert abs(rows[0] - reach) <= 2
    assert abs((SHAPE[0] - 1 - rows[-1]) - reach) <= 2
    assert np.isfinite(found.mean[found.common_region]).all()


def test_same_input_same_output(known) -> None:
    frames, _ = known
    first, second = register.align(frames[:4]), register.align(frames[:4])
    assert np.array_equal(first.field, second.field)
    assert first.provenance == second.provenance


def test_two_frames_are_enough(known) -> None:
    frames, moved = known
    found = register.align(frames[5:7])
    assert found.accepted.all(), found.reasons
    true = moved[6].mean(axis=0) - moved[5].mean(axis=0)
    assert np.abs(found.shifts[1] - found.shifts[0] - true).max() < 0.15


# masks, damage, other areas --------------------------------------------------------------------------------


def test_unmeasured_samples_do_not_count(known) -> None:
    frames, moved = known
    rng = np.random.default_rng(1)
    masks = rng.random(frames.shape) < 0.6
    spoiled = np.where(masks, frames, 60000)
    as_nan = np.where(masks, frames, np.nan)
    by_mask, by_nan = register.align(spoiled, masks=masks), register.align(as_nan)
    assert np.array_equal(by_mask.field, by_nan.field)
    assert by_mask.accepted.all(), by_mask.reasons
    assert make.relative_error(by_mask.field, moved) < 0.4


def test_values_without_sense_do_not_count(known) -> None:
    frames, moved = known
    spoiled = frames.astype(float)
    spoiled[:, 3, 5], spoiled[:, 40, 41], spoiled[:, 70, 2] = np.inf, 1e300, np.nan
    found = register.align(spoiled)
    assert found.accepted.all(), found.reasons
    assert np.isfinite(found.mean[found.common_region]).all()
    assert make.relative_error(found.field, moved) < 0.32


def test_damaged_and_foreign_frames_are_left_out_with_a_reason(known) -> None:
    frames, moved = known
    rng = np.random.default_rng(5)
    spoiled = frames.copy()
    spoiled[2] = 0
    spoiled[4] = rng.poisson(6.0, SHAPE)
    other = make.lattice(SHAPE, spacing=8.3, angle_deg=31.0, seed=9)
    spoiled[7] = make.sample(other, np.zeros((1, SHAPE[0], 2)), SHAPE, 6.0)[0]
    found = register.align(spoiled)
    assert np.flatnonzero(~found.accepted).tolist() == [2, 4, 7]
    assert "constant" in found.reasons[2]
    assert "the others show" in found.reasons[4]
    assert "the others show" in found.reasons[7]
    good = found.accepted
    assert make.relative_error(found.field[good], moved[good]) < 0.32
    assert found.quality[7] < 0.5 * np.median(found.quality)


def test_a_fast_drift_goes_on_within_a_frame(scene) -> None:
    moved = make.drift(10, SHAPE[0], (3.2, -2.0))
    found = register.align(make.sample(scene, moved, SHAPE, 10.0))
    assert found.accepted.all(), found.reasons
    assert np.abs(found.field[:, -5] - found.field[:, 5] - (moved[:, -5] - moved[:, 5])).mean() < 0.2


def test_moves_of_the_scan_are_no_jumps_of_the_specimen() -> None:
    perfect = make.lattice(SHAPE, vacancies=0.0, boundary=False)
    scanned = np.array([[0.0, 0]] * 4 + [[5.5, -4.5]] * 4 + [[1.0, 6.5]] * 2)  # half a cell and more
    moved = make.drift(10, SHAPE[0], (0.3, 0.2)) + scanned[:, None]
    frames = make.sample(perfect, moved, SHAPE, 6.0)
    given = scanned.copy()
    given[6] = np.nan  # as before
    found = register.align(frames, scan_px=given)
    assert found.accepted.all(), found.reasons
    assert make.relative_error(found.field, moved) < 0.2
    alone = register.align(frames)  # nothing in the image says which way it went
    assert not alone.accepted.all()
    with pytest.raises(errors.ParameterError, match="scan_px has shape"):
        register.align(frames, scan_px=scanned[:3])


def test_missing_frames_do_not_upset_the_drift(scene) -> None:
    rng = np.random.default_rng(6)
    moved = make.drift(14, SHAPE[0], (1.3, -1.0)) + make.jitter(rng, 14, SHAPE[0], 0.3)
    frames = make.sample(scene, moved, SHAPE, 6.0)
    frames[[3, 4, 8]] = 7
    found = register.align(frames)
    assert np.flatnonzero(~found.accepted).tolist() == [3, 4, 8]
    assert make.relative_error(found.field[found.accepted], moved[found.accepted]) < 0.3


def test_the_first_frame_may_be_the_bad_one(known) -> None:
    frames, moved = known
    spoiled = frames.copy()
    spoiled[0] = np.random.default_rng(5).poisson(6.0, SHAPE)
    found = register.align(spoiled)
    assert np.flatnonzero(~found.accepted).tolist() == [0]
    assert make.relative_error(found.field[1:], moved[1:]) < 0.32


def test_a_frame_that_is_half_blank_is_left_out(known) -> None:
    frames, _ = known
    spoiled = frames.copy()
    spoiled[6, 40:] = 0
    found = register.align(spoiled)
    assert not found.accepted[6]
    assert found.accepted.sum() == len(frames) - 1


def test_nothing_usable_is_said_not_raised() -> None:
    found = register.align(np.ones((3, 20, 20)))
    assert not found.accepted.any()
    assert all("constant" in reason for reason in found.reasons)
    assert np.isnan(found.mean).all()
    assert not found.common_region.any()
    found = register.align(np.random.default_rng(0).poisson(5, (3, 20, 20)), masks=np.zeros((20, 20), bool))
    assert all("no sample" in reason for reason in found.reasons)


def test_a_lone_usable_frame_is_not_accepted(known) -> None:
    frames = known[0][:3].astype(float)
    frames[:2] = np.nan
    found = register.align(frames)
    assert not found.accepted.any()
    assert "no other frame" in found.reasons[2]


def test_noise_alone_is_not_accepted() -> None:
    found = register.align(np.random.default_rng(0).poisson(3.0, (6, 64, 64)))
    assert not found.accepted.any()


# the door --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ones((20, 20)), "frame, y, x"),
        (np.ones((1, 20, 20)), "1 frame"),
        (np.ones((0, 20, 20)), "0 frames"),
        (np.ones((3, 1, 1)), "at least"),
        (np.ones((3, 20, 20), complex), "real"),
        ([np.ones((20, 20)), np.ones((20, 21))], "differ in shape"),
    ],
)
def test_what_is_no_series_is_refused(given, words) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        register.align(given)


def test_wrong_masks_models_and_patterns_are_refused(known) -> None:
    frames = known[0][:3]
    with pytest.raises(errors.ParameterError, match="masks have shape"):
        register.align(frames, masks=np.ones((3, 5, 5), bool))
    with pytest.raises(errors.ParameterError, match="model"):
        register.align(frames, "affine")
    with pytest.raises(errors.ParameterError, match="patterns"):
        register.align(frames, patterns=[scan.raster(SHAPE)])
    with pytest.raises(errors.ParameterError, match=r"patterns\[1\] has shape"):
        register.align(frames, patterns=[None, scan.raster((5, 5)), None])


def test_progress_reaches_the_end_and_cancel_stops(known) -> None:
    frames = known[0][:4]
    done: list[float] = []
    register.align(frames, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1.0
    stop = threading.Event()
    stop.set()
    with pytest.raises(errors.CancelledError):
        register.align(frames, cancel=stop)


def test_an_alignment_holds_together() -> None:
    parts = {
        "shifts": np.zeros((2, 2)), "field": np.zeros((2, 4, 2)), "common_region": np.ones((4, 5)),
        "quality": np.ones(2), "accepted": np.array([True, False]), "reasons": ("", "blank"), "model": "rigid",
        "shape": (4, 5), "mean": np.zeros((4, 5)),
    }  # fmt: skip
    whole = register.Alignment(**parts)
    assert len(whole) == 2
    assert whole.displacement(1).shape == (4, 5, 2)
    assert whole.provenance is not None
    with pytest.raises(ValueError, match="read-only"):
        whole.field[0] = 1
    for name, wrong in (
        ("shifts", np.zeros((2, 3))), ("field", np.zeros((2, 5, 2))), ("common_region", np.ones((5, 5))),
        ("quality", np.ones(3)), ("accepted", np.ones(3, bool)), ("reasons", ("",)), ("model", "affine"),
        ("mean", np.zeros((5, 5))), ("field", np.full((2, 4, 2), np.nan)),
    ):  # fmt: skip
        with pytest.raises(errors.ParameterError):
            register.Alignment(**{**parts, name: wrong})


@pytest.mark.parametrize("module", ["align_series", "alignment", "diagnostics", "live", "tracker"])
def test_examples_in_docstrings(module) -> None:
    result = doctest.testmod(importlib.import_module(f"esteemcore.register.{module}"))
    assert result.failed == 0
    assert result.attempted > 0 or module == "alignment"
