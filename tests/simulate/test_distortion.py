from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esteemcore import errors, simulate


def test_steady_drift() -> None:
    times = np.linspace(0, 10, 7)
    np.testing.assert_allclose(simulate.Drift((0.2, -0.1)).displacement(times), times[:, None] * (0.2, -0.1))


def test_random_walk_grows_with_the_root_of_time() -> None:
    ends = np.array([simulate.Drift(walk_px=0.5, seed=s).displacement([1.0, 4.0]) for s in range(800)])
    assert ends[:, 0].std() == pytest.approx(0.5, rel=0.08)
    assert ends[:, 1].std() == pytest.approx(1.0, rel=0.08)
    later = ends[:, 1] - ends[:, 0]
    assert abs(np.corrcoef(ends[:, 0].ravel(), later.ravel())[0, 1]) < 0.1


def test_jumps() -> None:
    drift = simulate.Drift(jump_rate_hz=2.0, jump_px=9.0, seed=1)
    times, sizes = drift.jumps(500.0)
    assert len(times) == pytest.approx(1000, abs=130)
    assert sizes.std() == pytest.approx(9, rel=0.1)
    at = times[4]
    before, after = drift.displacement([at - 1e-9, at])
    np.testing.assert_allclose(after - before, sizes[4])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 99))
def test_results_do_not_depend_on_the_cuts(seed: int, cut: int) -> None:
    times = np.sort(np.random.default_rng(seed).uniform(0, 20, 100))
    positions = np.random.default_rng(seed).uniform(0, 60, (100, 2))
    drift = simulate.Drift((0.1, 0.2), walk_px=0.3, jump_rate_hz=0.5, jump_px=4.0, seed=seed)
    scan = simulate.ScanDistortion(line_jitter_px=0.4, hum_px=(0.2, 0.1), jitter_px=0.3, seed=seed)
    for whole, parts in (
        (drift.displacement(times), [drift.displacement(t) for t in (times[:cut], times[cut:])]),
        (
            scan.displacement(times, positions, 2),
            [scan.displacement(times[s], positions[s], 2) for s in (slice(None, cut), slice(cut, None))],
        ),
    ):
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-12)


def test_line_jitter_is_a_stationary_first_order_process() -> None:
    scan = simulate.ScanDistortion(line_jitter_px=(0.5, 0.25), line_correlation=0.8, seed=2)
    lines = np.stack([scan.line_jitter(256, visit) for visit in range(100)])
    for axis, sigma in enumerate((0.5, 0.25)):
        assert lines[:, 0, axis].std() == pytest.approx(sigma, rel=0.25)
        assert lines[..., axis].std() == pytest.approx(sigma, rel=0.05)
        for lag in (1, 3):
            pairs = lines[:, :-lag, axis].ravel(), lines[:, lag:, axis].ravel()
            assert np.corrcoef(*pairs)[0, 1] == pytest.approx(0.8**lag, abs=0.05)
    positions = np.array([[3.0, 0.0], [3.0, 9.0], [4.0, 0.0]])
    moved = scan.displacement(np.arange(3.0), positions, visit=1)
    np.testing.assert_allclose(moved, scan.line_jitter(5, 1)[[3, 3, 4]])


def test_hum_has_the_frequency_of_the_mains() -> None:
    times = np.arange(4096) * 1e-4
    moved = simulate.ScanDistortion(hum_px=(0.3, 0.0), hum_hz=50).displacement(times, np.zeros((4096, 2)))
    assert not moved[:, 1].any()
    phasor = np.exp(-2j * np.pi * 50 * times[:4000]) @ moved[:4000, 0] / 2000
    assert abs(phasor) == pytest.approx(0.3, rel=1e-3)
    assert moved[:4000, 0].std() == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)


def test_white_jitter_is_normal_and_independent() -> None:
    n = 40_000
    positions = np.stack(np.divmod(np.arange(n), 200), axis=-1)
    times = np.arange(n) * 1e-5
    scan = simulate.ScanDistortion(jitter_px=0.3, seed=5)
    moved = scan.displacement(times, positions) / 0.3
    assert moved.mean(axis=0) == pytest.approx(0, abs=0.02)
    assert moved.std(axis=0) == pytest.approx(1, abs=0.02)
    assert (moved**4).mean(axis=0) == pytest.approx(3, abs=0.15)
    for a, b in ((moved[:, 0], moved[:, 1]), (moved[:-1, 0], moved[1:, 0]), (moved[:-200, 1], moved[200:, 1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    for other in (
        simulate.ScanDistortion(jitter_px=0.3, seed=6).displacement(times, positions),
        scan.displacement(times, positions, visit=1),
    ):
        assert abs(np.corrcoef(moved[:, 0], other[:, 0])[0, 1]) < 0.02


def test_errors() -> None:
    with pytest.raises(errors.ParameterError, match="zero or later"):
        simulate.Drift().displacement([-1.0])
    with pytest.raises(errors.ParameterError, match="pair"):
        simulate.Drift((1.0, 2.0, 3.0))  # type: ignore[arg-type]
    with pytest.raises(errors.ParameterError, match="less than 1"):
        simulate.ScanDistortion(line_correlation=1.0)
    with pytest.raises(errors.ParameterError, match="expected finite px"):
        simulate.ScanDistortion(jitter_px=0.1).displacement([0.0, 1.0], np.zeros((3, 2)))
    with pytest.raises(errors.ParameterError, match="finite"):
        simulate.ScanDistortion(hum_px=float("nan"))
