"""Frames at uneven times: a picture that cannot be mistaken is placed whenever it comes, a lattice is not guessed."""

import numpy as np
import pytest
import series as make
from scipy import ndimage

from esteemcore import register

SHAPE = (64, 64)
N = 10
EVEN = np.arange(float(N))
TIMES = {
    "even": EVEN,
    "a long first interval": np.concatenate([[0], 1 + 0.01 * EVEN[:-1]]),
    "a short first interval": np.concatenate([[0], 0.01 + EVEN[:-1]]),
    "a pause": np.concatenate([0.01 * EVEN[:5], 3 + 0.01 * EVEN[:5]]),
    "two pauses": np.concatenate([0.01 * EVEN[:4], 3 + 0.01 * EVEN[:3], 9 + 0.01 * EVEN[:3]]),
    "a pause before the last": np.concatenate([0.01 * EVEN[:-1], [3]]),
    "pairs": np.repeat(EVEN[:5], 2) + np.tile([0, 0.01], 5),
    "slower and slower": 1.8**EVEN,
    "faster and faster": -(0.55**EVEN),
}


@pytest.fixture(scope="module")
def blobs():
    """Frames of something that never repeats itself, which moves by as much from each frame to the next."""
    fine = ndimage.gaussian_filter(np.random.default_rng(5).random([(n + 2 * make.PAD) * 3 for n in SHAPE]), 7)
    scene = make.Scene(np.maximum(1 + 4 * (fine / fine.mean() - 1), 0), np.inf)
    moved = make.drift(N, SHAPE[0], (0.45, -0.3))
    return make.sample(scene, moved, SHAPE, 30.0), moved.mean(axis=1) - moved[0].mean(axis=0)


def followed(frames, times) -> tuple[list[register.Placement], np.ndarray]:
    live, tracker = register.LiveAlignment(SHAPE), register.DriftTracker()
    placed = [live.update(frame, time_s=time) for frame, time in zip(frames, times, strict=True)]
    return placed, np.array([tracker.update(frame, time_s=time) for frame, time in zip(frames, times, strict=True)])


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_a_picture_that_cannot_be_mistaken_is_placed_at_any_time(blobs, times) -> None:
    frames, true = blobs
    placed, tracked = followed(frames, times)
    even, tracked_evenly = followed(frames, [None] * N)
    assert all(p.accepted for p in placed), [p.reason for p in placed]
    found = np.array([p.shift for p in placed])
    assert np.abs(found - true).max() < 0.6
    assert np.abs(found - [p.shift for p in even]).max() < 0.1
    assert np.abs(tracked - true).max() < 0.6
    assert np.abs(tracked - tracked_evenly).max() < 0.1


def at_times(times, velocity, perfect: bool, seed: int, spacing: float = 11.0) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of a lattice that drifts steadily in time, and their true displacements."""
    rng = np.random.default_rng(seed)
    shape = (96, 96)
    scene = make.lattice(shape, spacing, vacancies=0 if perfect else 0.05, boundary=not perfect, seed=seed)
    lines = times[:, None] + 0.3 * np.arange(shape[0]) / shape[0]
    moved = (lines - lines.mean())[..., None] * np.array(velocity) + make.jitter(rng, len(times), shape[0], 0.3)
    return make.sample(scene, moved, shape, 5.0, seed), moved.mean(axis=1)


@pytest.mark.parametrize("perfect", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_steady_drift_over_a_lattice_is_followed_at_random_times(perfect, seed) -> None:
    times = np.concatenate([[0.0], np.cumsum(np.random.default_rng(seed).exponential(1.0, 13))])
    frames, true = at_times(times, (0.3, -0.25), perfect, seed)
    live, tracker = register.LiveAlignment(frames.shape[1:]), register.DriftTracker()
    placed = [live.update(frame, time_s=time) for frame, time in zip(frames, times, strict=True)]
    assert all(p.accepted for p in placed), [p.reason for p in placed]
    assert not any(p.begins for p in placed[1:])
    for found in (
        [p.shift for p in placed],
        [tracker.update(frame, time_s=time) for frame, time in zip(frames, times, strict=True)],
    ):
        assert np.hypot(*(found - true - (found[0] - true[0])).T).max() < 0.5  # a hop would be 11 px


def test_behind_a_pause_a_lattice_is_placed_by_what_does_not_repeat_or_not_at_all() -> None:
    """The drift ended in the pause, in which it would have led the lattice on by one and a half cells."""
    times = np.concatenate([np.arange(8.0), 30 + np.arange(5.0)])
    drifted = np.concatenate([np.arange(8.0), 8 + np.zeros(5)])
    for perfect in (False, True):
        frames, true = at_times(drifted, (0.6, -0.5), perfect, seed=0)
        live = register.LiveAlignment(frames.shape[1:])
        placed = [live.update(frame, time_s=time) for frame, time in zip(frames, times, strict=True)]
        good = np.array([p.accepted for p in placed])
        assert good[:8].all()
        if perfect:
            assert not good[8:].any()
            assert "ambiguous" in placed[8].reason
        else:
            assert good[8:].sum() >= 4
        error = np.array([p.shift for p in placed])[good] - true[good]
        assert np.hypot(*(error - error[0]).T).max() < 0.5
