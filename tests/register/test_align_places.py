"""Patterns, ambiguous places, residual fields, jitter of other kinds."""

import numpy as np
import pytest
import series as make

from esteemcore import register, scan

SHAPE = (128, 128)


def hopped(field: np.ndarray, truth: np.ndarray, spacing: float, among: np.ndarray) -> np.ndarray:
    """Which frames lie more than a third of the spacing from where most of the frames ``among`` say."""
    error = (field - truth)[:, 4:-4].mean(axis=1)
    error -= np.median(error[among], axis=0)
    return np.hypot(*error.T) > spacing / 3


@pytest.fixture(scope="module")
def scene():
    return make.lattice(SHAPE, vacancies=0.05, seed=1)


def jumped(scene, seed: int, n: int = 12, dose: float = 3.0, jumps: int = 1):
    """A series with sudden jumps of 0.7 lattice spacings in any direction."""
    rng = np.random.default_rng(seed)
    moved = make.drift(n, SHAPE[0], (0.3, 0.2)) + make.jitter(rng, n, SHAPE[0], 0.3)
    for _ in range(jumps):
        angle = rng.uniform(0, 2 * np.pi)
        moved[rng.integers(2, n - 1) :] += 0.7 * scene.spacing * np.array([np.sin(angle), np.cos(angle)])
    return make.sample(scene, moved, SHAPE, dose, seed), moved


@pytest.mark.parametrize("seed", range(5))
def test_no_accepted_frame_is_off_by_a_cell_after_sudden_jumps(scene, seed) -> None:
    frames, moved = jumped(scene, seed, jumps=1 + seed % 2)
    found = register.align(frames)
    assert found.accepted.mean() >= 0.7, found.reasons
    assert not hopped(found.field, moved, scene.spacing, found.accepted)[found.accepted].any()


def test_on_a_perfect_lattice_a_jump_leaves_the_place_open() -> None:
    perfect = make.lattice(SHAPE, vacancies=0.0, boundary=False)
    rng = np.random.default_rng(3)
    moved = make.drift(12, SHAPE[0], (0.3, 0.2)) + make.jitter(rng, 12, SHAPE[0], 0.2)
    moved[7:] += 0.5 * perfect.spacing
    found = register.align(make.sample(perfect, moved, SHAPE, 4.0))
    assert found.accepted[:7].any() != found.accepted[7:].any()
    assert all("ambiguous" in reason for reason in found.reasons[7:])


def test_on_a_perfect_lattice_a_steady_drift_is_believed() -> None:
    perfect = make.lattice(SHAPE, vacancies=0.0, boundary=False)
    rng = np.random.default_rng(3)
    moved = make.drift(10, SHAPE[0], (0.6, 0.3)) + make.jitter(rng, 10, SHAPE[0], 0.2)
    found = register.align(make.sample(perfect, moved, SHAPE, 4.0))
    assert found.accepted.sum() >= 8, found.reasons
    assert not hopped(found.field, moved, perfect.spacing, found.accepted).any()


def test_another_area_of_the_same_lattice_is_left_out(scene) -> None:
    frames, moved = jumped(scene, 0, jumps=0)
    elsewhere = make.lattice(SHAPE, vacancies=0.05, seed=7)
    spoiled = frames.copy()
    spoiled[5] = make.sample(elsewhere, moved[5:6], SHAPE, 3.0, 5)[0]
    found = register.align(spoiled)
    assert not found.accepted[5]
    assert found.accepted.sum() >= 0.8 * len(frames), found.reasons


@pytest.mark.parametrize(("kind", "limit"), [("white", 0.8), ("hum", 0.5), ("slow", 0.5), ("tears", 0.6)])
def test_other_kinds_of_jitter_are_followed(scene, kind, limit) -> None:
    rng = np.random.default_rng(8)
    n, lines = 10, SHAPE[0]
    moved = make.drift(n, lines, (0.3, -0.4))
    if kind == "white":
        moved = moved + rng.normal(0, 0.4, moved.shape)
    elif kind == "hum":
        phase = rng.uniform(0, 2 * np.pi, (n, 1))
        moved[..., 1] += 0.7 * np.sin(2 * np.pi * np.arange(lines) / 9.3 + phase)
    elif kind == "slow":
        moved = moved + make.jitter(rng, n, lines, 1.0, 0.97)
    else:
        moved = moved + make.jitter(rng, n, lines, 0.2)
        for k in range(n):
            at = rng.integers(10, lines - 20)
            moved[k, at : at + 8, 1] += rng.choice([-2.0, 2.0])
    found = register.align(make.sample(scene, moved, SHAPE, 6.0))
    assert found.accepted.all(), found.reasons
    rigid = np.repeat(moved.mean(axis=1, keepdims=True), lines, 1)
    assert make.relative_error(found.field, moved) < limit * make.relative_error(rigid, moved)


def test_other_lattices_and_angles() -> None:
    for spacing, angle, centred in ((8.0, 33.0, False), (17.0, -12.0, True)):
        scene = make.lattice(SHAPE, spacing, angle, centred=centred, seed=4)
        rng = np.random.default_rng(4)
        moved = make.drift(8, SHAPE[0]) + make.jitter(rng, 8, SHAPE[0], 0.35)
        found = register.align(make.sample(scene, moved, SHAPE, 6.0))
        rigid = np.repeat(moved.mean(axis=1, keepdims=True), SHAPE[0], 1)
        assert found.accepted.all(), found.reasons
        assert make.relative_error(found.field, moved) < 0.6 * make.relative_error(rigid, moved)


# patterns --------------------------------------------------------------------------------


def turned_series(scene, n: int = 8):
    rng = np.random.default_rng(2)
    jitter, lines = make.jitter(rng, n, SHAPE[0], 0.4), np.arange(SHAPE[0])
    turned = scan.from_order(SHAPE, np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).T.ravel(), name="turned")
    field = np.empty((n, *SHAPE, 2))
    for k in range(n):
        moved = (k + lines[:, None] / SHAPE[0] - n / 2) * np.array([0.6, -0.4]) + jitter[k]
        field[k] = moved[:, None] if k % 2 == 0 else moved[None]
    return make.sample(scene, field, SHAPE, 6.0), field, [None if k % 2 == 0 else turned for k in range(n)]


def test_lines_of_turned_frames_are_columns(scene) -> None:
    frames, field, patterns = turned_series(scene)
    known, unknown = register.align(frames, patterns=patterns), register.align(frames)
    assert known.field.shape == (8, *SHAPE, 2)
    assert known.accepted.all(), known.reasons
    as_rows = np.broadcast_to(unknown.field[:, :, None], field.shape)
    assert make.relative_error(known.field, field) < 0.65 * make.relative_error(as_rows, field)
    assert np.ptp(known.field[1], axis=0).max() < 1e-6  # a column shares its displacement
    assert np.ptp(known.field[0], axis=1).max() < 1e-6


def test_turning_the_whole_series_turns_the_field(scene) -> None:
    frames, _, patterns = turned_series(scene)
    turned = patterns[1]
    upright = register.align(frames[::2])
    aside = register.align(frames[::2].transpose(0, 2, 1), patterns=[turned] * 4)
    inner = slice(2, -2)  # the lines along the rim know less than the solver asks for
    assert np.abs(aside.field - upright.field[:, None, :, ::-1])[:, :, inner].max() < 0.05


def test_frames_of_random_order_get_the_drift_at_the_time_of_each_sample(scene) -> None:
    n, field = 8, np.empty((8, *SHAPE, 2))
    patterns = [scan.shuffled(SHAPE, seed=k) for k in range(n)]
    for k, pattern in enumerate(patterns):
        time = np.empty(len(pattern))
        time[pattern.order] = np.arange(len(pattern)) / len(pattern) - 0.5
        field[k] = (k - n / 2 + time.reshape(SHAPE))[..., None] * np.array([1.2, -0.8])
    found = register.align(make.sample(scene, field, SHAPE, 6.0), patterns=patterns)
    assert found.accepted.all(), found.reasons
    rigid = np.broadcast_to(field.mean(axis=(1, 2), keepdims=True), field.shape)
    assert make.relative_error(found.field, field) < 0.5 * make.relative_error(rigid, field)


def test_visit_orders_stand_for_patterns(scene) -> None:
    frames, _, patterns = turned_series(scene, 4)
    orders = [None if p is None else p.order for p in patterns]
    assert np.array_equal(
        register.align(frames, patterns=orders).field, register.align(frames, patterns=patterns).field
    )


@pytest.mark.parametrize("pattern", [scan.serpentine(SHAPE), scan.interlaced(SHAPE, 4)])
def test_patterns_of_rows_have_a_displacement_per_row(scene, pattern) -> None:
    frames, _ = jumped(scene, 0, n=4, jumps=0)
    found = register.align(frames, patterns=pattern)
    assert found.field.shape == (4, SHAPE[0], 2)
    assert found.accepted.all(), found.reasons


def test_positions_that_a_pattern_leaves_out_are_not_measured(scene) -> None:
    frames, _ = jumped(scene, 0, n=4, jumps=0)
    pattern = scan.sparse(SHAPE, 0.5, seed=2)
    spoiled = np.where(pattern.mask, frames, 50000)
    alone = register.align(spoiled, patterns=pattern)
    assert np.array_equal(alone.field, register.align(spoiled, patterns=pattern, masks=pattern.mask).field)
    assert alone.accepted.all(), alone.reasons


# residual --------------------------------------------------------------------------------


def test_a_smooth_field_on_top_of_the_lines_is_found(scene) -> None:
    from scipy import ndimage

    rng = np.random.default_rng(2)
    smooth = ndimage.gaussian_filter(rng.standard_normal((6, *SHAPE, 2)), (0, 24, 24, 0))
    field = make.jitter(rng, 6, SHAPE[0], 0.2)[:, :, None] + smooth * 0.4 / smooth.std()
    frames = make.sample(scene, field, SHAPE, 20.0)
    lines, both = register.align(frames), register.align(frames, residual=True)
    assert both.field.shape == (6, *SHAPE, 2)
    as_rows = np.broadcast_to(lines.field[:, :, None], field.shape)
    assert make.relative_error(both.field, field) < 0.75 * make.relative_error(as_rows, field)


def test_no_residual_is_found_where_there_is_none(scene) -> None:
    frames, _ = jumped(scene, 0, n=6, jumps=0)
    lines, both = register.align(frames), register.align(frames, residual=True)
    assert np.sqrt(((both.field - lines.field[:, :, None]) ** 2).mean()) < 0.04


# pictures --------------------------------------------------------------------------------


def test_diagnosis_shows_drift_hum_and_misfit(scene) -> None:
    n, lines = 8, SHAPE[0]
    moved = make.drift(n, lines, (0.5, 0.0))
    moved[..., 1] += 0.8 * np.sin(2 * np.pi * np.arange(lines) / 8 + np.arange(n)[:, None])
    frames = make.sample(scene, moved, SHAPE, 10.0)
    frames[3] = np.random.default_rng(0).poisson(10.0, SHAPE)
    found = register.align(frames)
    shown = register.diagnose(found, frames)
    assert shown.jitter.shape == (n, lines, 2)
    assert shown.frequency[shown.jitter_power[:, 1].argmax()] == pytest.approx(1 / 8)
    assert np.diff(shown.drift[4:, 0]) == pytest.approx(0.5, abs=0.1)
    assert shown.misfit[3] > 0.97
    assert np.delete(shown.misfit, 3).max() < 0.9
    assert shown.line_misfit.shape == (n, lines)
