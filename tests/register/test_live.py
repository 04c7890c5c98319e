"""Registration while the series is recorded: drift tracker and running mean."""

import numpy as np
import pytest
import series as make

from esteemcore import errors, register
from esteemcore.register import hops

SHAPE = (128, 128)


@pytest.fixture(scope="module")
def scene():
    return make.lattice(SHAPE, vacancies=0.05, seed=1)


@pytest.fixture(scope="module")
def known(scene):
    rng = np.random.default_rng(3)
    moved = make.drift(14, SHAPE[0], (0.5, -0.7)) + make.jitter(rng, 14, SHAPE[0], 0.3)
    return make.sample(scene, moved, SHAPE, 5.0), moved


def test_the_tracker_follows_the_specimen_in_the_sign_of_the_alignment(known) -> None:
    frames, moved = known
    tracker = register.DriftTracker()
    found = np.array([tracker.update(frame, time_s=0.5 * k) for k, frame in enumerate(frames)])
    true = moved.mean(axis=1) - moved[0].mean(axis=0)
    assert np.abs(found - true).max() < 0.35
    assert tracker.velocity == pytest.approx([0.5, -0.7], abs=0.15)
    assert tracker.velocity_px_s == pytest.approx([1.0, -1.4], abs=0.3)
    assert np.array_equal(tracker.displacement, found[-1])


def test_the_tracker_expects_late_frames_farther_on(known) -> None:
    frames, moved = known
    tracker = register.DriftTracker()
    chosen = [0, 1, 2, 3, 4, 10, 11]
    found = np.array([tracker.update(frames[k], time_s=float(k)) for k in chosen])
    true = (moved.mean(axis=1) - moved[0].mean(axis=0))[chosen]
    assert np.abs(found - true).max() < 0.4


def test_the_tracker_lets_bad_frames_pass(known) -> None:
    frames, moved = known
    tracker = register.DriftTracker()
    for k, frame in enumerate(frames):
        if k == 6:
            tracker.update(np.zeros(SHAPE))
            assert "constant" in tracker.reason
        elif k == 8:
            tracker.update(np.random.default_rng(1).poisson(5.0, SHAPE))
            assert "does not show" in tracker.reason
        else:
            found = tracker.update(frame)
            assert tracker.reason == ""
            assert np.abs(found - moved[k].mean(axis=0) + moved[0].mean(axis=0)).max() < 0.4


def test_the_tracker_works_with_masks(known) -> None:
    frames, moved = known
    rng = np.random.default_rng(0)
    tracker = register.DriftTracker()
    for k, frame in enumerate(frames):
        mask = rng.random(SHAPE) < 0.4
        found = tracker.update(np.where(mask, frame, 30000), mask)
        assert np.abs(found - moved[k].mean(axis=0) + moved[0].mean(axis=0)).max() < 0.5


def test_live_alignment_finds_lines_nearly_as_well_as_the_whole_series(known) -> None:
    frames, moved = known
    live = register.LiveAlignment(SHAPE)
    placed = [live.update(frame) for frame in frames]
    assert all(p.accepted for p in placed), [p.reason for p in placed]
    assert placed[0].begins
    assert not any(p.begins for p in placed[1:])
    field = np.array([p.field for p in placed])
    rigid = np.repeat(moved.mean(axis=1, keepdims=True), SHAPE[0], 1)
    assert make.relative_error(field[4:], moved[4:]) < 0.8 * make.relative_error(rigid[4:], moved[4:])
    assert np.allclose(placed[5].field.mean(axis=0), placed[5].shift, atol=1e-5)
    assert live.accepted == len(frames)
    assert np.nanmax(live.coverage) == pytest.approx(len(frames), rel=0.3)


def test_the_running_mean_is_that_of_the_frames(known) -> None:
    frames, _ = known
    live = register.LiveAlignment(SHAPE, model="rigid")
    for frame in frames:
        live.update(frame)
    inside = live.coverage > 10
    assert np.nanmean(live.mean[inside]) == pytest.approx(frames.mean(), rel=0.1)


def test_live_leaves_out_what_does_not_belong(known) -> None:
    frames, moved = known
    live = register.LiveAlignment(SHAPE)
    spoiled = frames.astype(float)
    spoiled[6] = np.random.default_rng(0).poisson(5.0, SHAPE)
    spoiled[8] = np.nan
    torn = spoiled[10].copy()
    torn[50:] = 0
    spoiled[10] = torn
    placed = [live.update(frame) for frame in spoiled]
    assert [k for k, p in enumerate(placed) if not p.accepted] == [6, 8, 10]
    assert "measured" in placed[8].reason
    good = [k for k in range(4, 14) if placed[k].accepted]
    field = np.array([placed[k].field for k in good])
    assert np.abs((field - moved[good]).mean(axis=1) - (field - moved[good]).mean(axis=(0, 1))).max() < 0.2


def test_a_bad_first_frame_is_forgotten(known) -> None:
    frames, _ = known
    live = register.LiveAlignment(SHAPE)
    placed = [live.update(np.random.default_rng(0).poisson(5.0, SHAPE)), *(live.update(f) for f in frames)]
    begins = [k for k, p in enumerate(placed) if p.begins]
    assert len(begins) == 2
    assert begins[1] <= 4
    assert all(p.accepted for p in placed[begins[1] :])


@pytest.mark.parametrize("seed", range(4))
def test_live_accepts_no_frame_that_hopped(scene, seed) -> None:
    rng = np.random.default_rng(seed)
    moved = make.drift(16, SHAPE[0], (0.3, 0.2)) + make.jitter(rng, 16, SHAPE[0], 0.3)
    angle = rng.uniform(0, 2 * np.pi)
    moved[9:] += 0.7 * scene.spacing * np.array([np.sin(angle), np.cos(angle)])
    live = register.LiveAlignment(SHAPE)
    placed = [live.update(frame) for frame in make.sample(scene, moved, SHAPE, 4.0, seed)]
    good = [k for k, p in enumerate(placed) if p.accepted]
    error = np.array([placed[k].shift - moved[k].mean(axis=0) for k in good])
    assert len(good) >= 9
    assert np.hypot(*(error - error[0]).T).max() < scene.spacing / 3


def test_live_and_tracker_refuse_what_they_cannot_read(known) -> None:
    frames, _ = known
    tracker, live = register.DriftTracker(), register.LiveAlignment(SHAPE)
    tracker.update(frames[0], time_s=1.0)
    for follower in (tracker, live):
        with pytest.raises(errors.ParameterError, match="shape"):
            follower.update(np.ones((64, 64)))
        with pytest.raises(errors.ParameterError, match="mask"):
            follower.update(frames[0], np.ones((3, 3), bool))
        with pytest.raises(errors.ParameterError, match="real image"):
            follower.update(np.ones(SHAPE, complex))
    with pytest.raises(errors.ParameterError, match="in order"):
        tracker.update(frames[0], time_s=0.5)
    with pytest.raises(errors.ParameterError, match="shape"):
        register.LiveAlignment((4, 4))
    with pytest.raises(errors.ParameterError, match="model"):
        register.LiveAlignment(SHAPE, "affine")


def test_a_large_drift_outgrows_the_grid(scene) -> None:
    moved = make.drift(24, SHAPE[0], (1.4, -1.0))
    live = register.LiveAlignment(SHAPE, model="rigid")
    placed = [live.update(frame) for frame in make.sample(scene, moved, SHAPE, 20.0)]
    found = np.array([p.shift for p in placed])
    good = [p.accepted for p in placed]
    assert sum(good) >= 22
    assert not any(p.begins for p in placed[1:])
    true = moved.mean(axis=1) - moved[0].mean(axis=0)
    assert np.abs(found[good] - true[good]).max() < 0.5


def test_a_fast_drift_is_learnt_before_frames_are_accepted(scene) -> None:
    moved = make.drift(14, SHAPE[0], (2.6, -1.8))
    live = register.LiveAlignment(SHAPE, model="rigid")
    placed = [live.update(frame) for frame in make.sample(scene, moved, SHAPE, 20.0)]
    begun = max(k for k, p in enumerate(placed) if p.begins)
    assert begun <= 4
    good = [k for k, p in enumerate(placed) if p.accepted and k >= begun]
    assert len(good) >= 8
    error = np.array([placed[k].shift - moved[k].mean(axis=0) for k in good])
    assert np.abs(error - error[0]).max() < 0.5


def test_a_frame_that_seems_to_have_no_noise_breaks_nothing() -> None:
    y, x = np.mgrid[:32, :32]
    columns = 2000 * np.exp(3 * (np.cos(2 * np.pi * y / 6) * np.cos(2 * np.pi * x / 6) - 1)) * (1 + (y > 14))
    live = register.LiveAlignment((32, 32))
    for frame in np.random.default_rng(0).poisson(columns, (3, 32, 32)):
        live.update(frame)
    grid = live._fit.grid
    corrected = hops.Corrected(grid)
    total, weights = corrected.of_sums(grid.total, grid.weights)
    enough = 0.5 * float(weights.max())
    for noise in (0.0, -1e-4):  # what a fit to something else leaves
        judge = hops.Judge(corrected, total, weights, np.array([[6.0, 0.0]]), noise, 0.0, enough)
        judge._compare()
        assert np.isfinite(judge._power).all()
        assert np.isfinite(judge._expected).all()


def fine(perfect: bool, seed: int, dose: float, jump_cells: float = 0.0, n: int = 16):
    """A drifting lattice of 5 px cells; behind frame 9 it lies ``jump_cells`` cells farther along its axis."""
    rng = np.random.default_rng(seed)
    scene = make.lattice(SHAPE, 5.0, vacancies=0.0 if perfect else 0.03, boundary=not perfect, width=1.0, seed=seed)
    moved = make.drift(n, SHAPE[0], (0.2, -0.2)) + make.jitter(rng, n, SHAPE[0], 0.3)
    angle = np.deg2rad(7.0)
    moved[10:] += jump_cells * 5.0 * np.array([np.cos(angle), np.sin(angle)])
    return make.sample(scene, moved, SHAPE, dose, seed), moved.mean(axis=1)


def off(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances in px of places from where they should be, as seen from the first one."""
    return np.hypot(*(found - true - (found[0] - true[0])).T)


@pytest.mark.parametrize("seed", range(2))
def test_a_fine_perfect_lattice_is_followed_along_its_drift(seed) -> None:
    frames, true = fine(True, seed, 1.0)
    live, tracker = register.LiveAlignment(SHAPE), register.DriftTracker()
    placed = [live.update(frame) for frame in frames]
    assert not any(p.begins for p in placed[1:])
    good = np.array([p.accepted for p in placed])
    assert good.mean() > 0.6
    assert off(np.array([p.shift for p in placed])[good], true[good]).max() < 0.4
    assert all(p.by_drift for p in placed[4:] if p.accepted)  # nothing in the image tells cells apart
    assert off(np.array([tracker.update(frame) for frame in frames]), true).max() < 0.5


def test_on_a_fine_lattice_with_landmarks_a_jump_of_one_cell_is_seen() -> None:
    frames, true = fine(False, 1, 4.0, jump_cells=1.0)
    live = register.LiveAlignment(SHAPE)
    placed = [live.update(frame) for frame in frames]
    good = np.array([p.accepted for p in placed])
    assert good[4:10].all()
    assert good[10:].sum() >= 4
    assert not any(p.by_drift for p in placed[4:] if p.accepted)
    assert off(np.array([p.shift for p in placed])[good], true[good]).max() < 0.4


def test_on_a_perfect_lattice_a_jump_of_half_a_cell_is_not_sure() -> None:
    frames, _ = fine(True, 0, 4.0, jump_cells=0.5)
    live = register.LiveAlignment(SHAPE)
    placed = [live.update(frame) for frame in frames]
    assert all(p.accepted for p in placed[:10])
    assert not any(p.accepted for p in placed[10:])
    assert "ambiguous" in placed[10].reason
