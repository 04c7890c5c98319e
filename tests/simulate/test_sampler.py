from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from esteemcore import errors, events, simulate
from esteemcore.simulate import _kernels

DETECTOR = simulate.Detector((64, 60), pixel_mrad=(1.0, 0.9), center=(31.3, 30.6))


def dense(table: events.EventTable, shape: tuple[int, int]) -> np.ndarray:
    frames = np.zeros((len(table), shape[0] * shape[1]), np.int64)
    np.add.at(frames, (np.repeat(np.arange(len(table)), np.diff(table.offset)), table.pixel), table.count)
    return frames.reshape(-1, *shape)


def chi_squared(observed: np.ndarray, expected: np.ndarray) -> float:
    """Return the probability of a worse agreement, small expectations pooled."""
    order = np.argsort(expected, axis=None)
    groups = np.floor(np.cumsum(expected.ravel()[order]) / 10).astype(int)
    o, e = (np.bincount(groups, a.ravel()[order].astype(float)) for a in (observed, expected))
    o, e = o[e > 5], e[e > 5]
    return float(stats.chi2.sf(np.sum((o - e) ** 2 / e), len(e)))


@pytest.mark.parametrize("flip", [False, True])
def test_mean_is_the_bilinear_interpolation_of_the_bank(patterns: simulate.Bank, flip: bool) -> None:
    detector = simulate.Detector((64, 60), (1.0, 0.9), (31.3, 30.6), flip)
    sampler = simulate.FrameSampler(patterns, detector, seed=7, rotation_deg=25, origin_nm=(0.1, -3.0))
    position = np.array([[0.137, 0.291]])
    n, mean = 200, 20_000.0
    observed = dense(sampler.events(np.repeat(position, n, axis=0), mean), detector.shape).sum(axis=0)
    expected = n * mean * sampler.mean_frames(position)[0]
    assert expected.sum() == pytest.approx(n * mean * (1 - patterns.outside.mean()), rel=0.05)
    assert chi_squared(observed, expected) > 1e-3
    # the test can see a pattern of the next position, and a transposed one
    elsewhere = n * mean * sampler.mean_frames(position + patterns.spacing_nm[0])[0]
    assert chi_squared(observed, elsewhere) < 1e-9
    assert observed.sum() == sampler.electrons - sampler.lost


def test_mean_frame_interpolates_linearly(patterns: simulate.Bank) -> None:
    sampler = simulate.FrameSampler(patterns, DETECTOR)
    corners = np.array([[3, 4], [3, 5], [4, 4], [4, 5]]) * patterns.spacing_nm
    weights = np.array([0.75 * 0.9, 0.75 * 0.1, 0.25 * 0.9, 0.25 * 0.1])
    between = np.array([[3.25, 4.1]]) * patterns.spacing_nm
    np.testing.assert_allclose(
        sampler.mean_frames(between)[0], np.tensordot(weights, sampler.mean_frames(corners), 1), atol=1e-9
    )


def test_periodic_in_the_cell(patterns: simulate.Bank) -> None:
    sampler = simulate.FrameSampler(patterns, DETECTOR)
    cell = np.array(patterns.specimen.cell_nm)
    one, other = sampler.mean_frames(np.array([[0.1, 0.2], [0.1 - 3 * cell[0], 0.2 + 5 * cell[1]]]))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_rotation_convention(patterns: simulate.Bank) -> None:
    # q_det = R q_scan with R = [[cos, -sin], [sin, cos]] on (row, column): at 90 degrees a step along scan rows is a
    # step along specimen columns
    turned = simulate.FrameSampler(patterns, DETECTOR, rotation_deg=90, origin_nm=(0.05, 0.02))
    straight = simulate.FrameSampler(patterns, DETECTOR)
    np.testing.assert_allclose(turned.specimen_positions([[0.1, 0.0], [0.0, 0.1]]), [[0.05, 0.12], [-0.05, 0.02]])
    np.testing.assert_allclose(turned.mean_frames([[0.1, 0.0]]), straight.mean_frames([[0.05, 0.12]]), atol=1e-12)


def test_detector_geometry() -> None:
    # a pencil of one cell: the axis is at the pixel `center`, and pixel centres are at integers
    empty = simulate.bank(simulate.specimen("vacuum"), simulate.Beam(200, 5), extent_nm=4)
    detector = simulate.Detector((40, 50), pixel_mrad=0.5, center=(12, 33))
    frame = simulate.FrameSampler(empty, detector).mean_frames([[0.0, 0.0]])[0]
    row, column = np.indices(frame.shape)
    assert (frame * row).sum() / frame.sum() == pytest.approx(12, abs=1e-4)
    assert (frame * column).sum() / frame.sum() == pytest.approx(33, abs=1e-4)
    spread = (frame * ((row - 12) ** 2 + (column - 33) ** 2)).sum() / frame.sum()
    assert np.sqrt(2 * spread) * 0.5 == pytest.approx(5, abs=0.1)


def test_poisson_totals(patterns: simulate.Bank) -> None:
    big = simulate.Detector((64, 64), 1.5)
    for mean in (0.4, 7.0, 18.0, 178.0):
        sampler = simulate.FrameSampler(patterns, big, seed=3)
        table = sampler.events(np.zeros((20_000, 2)), mean)
        totals = np.add.reduceat(np.append(table.count, 0), table.offset[:-1].clip(max=len(table.count)))
        totals = np.where(np.diff(table.offset) == 0, 0, totals)
        expected = mean * (1 - float(patterns.outside[0, 0]))
        assert totals.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))
        assert totals.var() / totals.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("mean", [0.3, 3.0, 9.99, 10.0, 31.0, 400.0, 20_000.0])
def test_poisson_numbers(mean: float) -> None:
    state = np.array([_kernels.frame_counter(5, 0)], np.uint64)
    drawn = np.empty(40_000, np.int64)
    for i in range(len(drawn)):
        drawn[i] = _kernels.poisson(state, mean)
    quantiles = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 25), mean))
    edges = np.concatenate([[-1], quantiles, [1e9]])
    observed = np.histogram(drawn, edges + 0.5)[0]
    expected = len(drawn) * np.diff(stats.poisson.cdf(edges, mean))
    keep = expected > 5
    assert stats.chi2.sf(np.sum(((observed - expected) ** 2 / expected)[keep]), keep.sum() - 1) > 1e-3


def test_alias_tables_keep_the_probabilities(patterns: simulate.Bank) -> None:
    n = patterns.intensity.shape[-1]
    table = patterns.alias[17].astype(np.int64)
    stays = (table & 0xFFFF) / 65536
    alias = table >> 16
    probability = np.bincount(alias, 1 - stays, n + 1) + stays
    expected = np.append(patterns.intensity.reshape(-1, n)[17], patterns.outside.ravel()[17])
    np.testing.assert_allclose(probability / (n + 1), expected / expected.sum(), atol=n * 2.0**-17 / (n + 1))


def test_seeds_and_cuts(patterns: simulate.Bank) -> None:
    positions = np.random.default_rng(0).uniform(0, 3, (50, 2))
    one = simulate.FrameSampler(patterns, DETECTOR, seed=1).frames(positions, 30.0)
    cut = simulate.FrameSampler(patterns, DETECTOR, seed=1)
    pieces = np.concatenate([cut.frames(positions[:13], 30.0), cut.frames(positions[13:], 30.0)])
    np.testing.assert_array_equal(one, pieces)
    assert cut.n_frames == 50
    cut.rewind()
    np.testing.assert_array_equal(one[:5], cut.frames(positions[:5], np.full(5, 30.0)))
    assert not np.array_equal(one, simulate.FrameSampler(patterns, DETECTOR, seed=2).frames(positions, 30.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.floats(0, 400), st.integers(1, 12))
def test_bits_are_counts_above_zero(patterns: simulate.Bank, seed: int, mean: float, n: int) -> None:
    positions = np.random.default_rng(seed).uniform(-2, 2, (n, 2))
    options = {"seed": seed, "efficiency": 0.8, "dark_per_frame": 1.5}
    out = np.full((n, 64, 8), 255, np.uint8)
    packed = simulate.FrameSampler(patterns, DETECTOR, **options).frames(positions, mean, out=out)  # type: ignore[arg-type]
    assert packed is out
    table = simulate.FrameSampler(patterns, DETECTOR, **options).events(positions, mean)  # type: ignore[arg-type]
    bits = np.unpackbits(packed, axis=-1, bitorder="little")
    assert not bits[..., 60:].any()
    np.testing.assert_array_equal(bits[..., :60] > 0, dense(table, DETECTOR.shape) > 0)
    for start, end in zip(table.offset[:-1], table.offset[1:], strict=True):
        assert (np.diff(table.pixel[start:end].astype(int)) > 0).all()


def test_efficiency_and_dark_counts() -> None:
    empty = simulate.bank(simulate.specimen("vacuum"), simulate.Beam(200, 5), extent_nm=4)
    sampler = simulate.FrameSampler(empty, simulate.Detector((64, 64), 0.5), seed=1, efficiency=0.6, dark_per_frame=2)
    frames = dense(sampler.events(np.zeros((2000, 2)), 50), (64, 64))
    assert frames.sum(axis=(1, 2)).mean() == pytest.approx(32, abs=0.6)
    assert frames[:, :16].sum() == pytest.approx(2000 * 2 / 4, abs=5 * np.sqrt(1000))
    assert sampler.dark == pytest.approx(4000, abs=320)
    assert sampler.mean_frames([[0.0, 0.0]]).sum() == pytest.approx(0.6, abs=1e-4)


def test_electrons_that_miss_the_detector_are_counted() -> None:
    empty = simulate.bank(simulate.specimen("vacuum"), simulate.Beam(200, 5), extent_nm=4)
    sampler = simulate.FrameSampler(empty, simulate.Detector((20, 64), 0.5, center=(-0.5, 32)), seed=1)
    frames = dense(sampler.events(np.zeros((200, 2)), 100), (20, 64))
    assert sampler.electrons == frames.sum() + sampler.lost
    assert sampler.lost / sampler.electrons == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("positions", "electrons", "words"),
    [
        (np.zeros((3, 3)), 1.0, r"\(n, 2\)"),
        (np.full((3, 2), np.nan), 1.0, "finite"),
        (np.zeros((3, 2)), np.ones(4), "one per position"),
        (np.zeros((3, 2)), -1.0, "negative"),
        (np.zeros((3, 2)), np.inf, "not finite"),
    ],
)
def test_errors_of_frames(patterns: simulate.Bank, positions: np.ndarray, electrons: object, words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        simulate.FrameSampler(patterns, DETECTOR).frames(positions, electrons)  # type: ignore[arg-type]


def test_errors_of_sampler_and_detector(patterns: simulate.Bank) -> None:
    with pytest.raises(errors.ParameterError, match="fraction from 0 to 1"):
        simulate.FrameSampler(patterns, DETECTOR, efficiency=1.5)
    with pytest.raises(errors.ParameterError, match=r"out has shape"):
        simulate.FrameSampler(patterns, DETECTOR).frames(np.zeros((1, 2)), 1.0, out=np.zeros((1, 64, 7), np.uint8))
    with pytest.raises(errors.ParameterError, match="pixel_mrad"):
        simulate.Detector((4, 4), pixel_mrad=0.0)
    with pytest.raises(errors.ParameterError, match="shape"):
        simulate.Detector((4,), pixel_mrad=1.0)  # type: ignore[arg-type]
