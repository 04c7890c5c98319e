"""Accumulation: counts are conserved, dense and sparse agree, the variance is the variance, dithering beats Nyquist."""

from __future__ import annotations

import threading
import weakref

import hypothesis
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import strategies as st

from esteemcore import errors, events, register
from esteemcore.register.alignment import Alignment


def alignment(field, shape=None, accepted=None, common=None) -> Alignment:
    field = np.asarray(field, np.float32)
    n = len(field)
    shape = shape or (field.shape[1], field.shape[1])
    accepted = np.ones(n, bool) if accepted is None else np.asarray(accepted, bool)
    return Alignment(
        shifts=field.mean(axis=tuple(range(1, field.ndim - 1)), dtype=np.float64),
        field=field,
        common_region=np.ones(shape, bool) if common is None else common,
        quality=np.ones(n),
        accepted=accepted,
        reasons=tuple("" if a else "another area" for a in accepted),
        model="scanline",
        shape=shape,
        mean=np.zeros(shape, np.float32),
        provenance=None,
    )


def lines(n, ny, spread, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (n, ny, 2)).astype(np.float32)


def twin(frame, field, upsample, drop, power=1) -> np.ndarray:
    """Spread a dense frame (y, x, energy) by the overlap of squares with pixels, sample by sample."""
    ny, nx, _ = frame.shape
    field = np.broadcast_to(field[:, None] if field.ndim == 2 else field, (ny, nx, 2)).astype(float)
    out = np.zeros((ny * upsample, nx * upsample, frame.shape[2]))
    edges = np.arange(ny * upsample + 1), np.arange(nx * upsample + 1)
    half = drop / 2
    for i in range(ny):
        for j in range(nx):
            shares = []
            for axis, place in enumerate((i + field[i, j, 0], j + field[i, j, 1])):
                low, high = ((place + 0.5 + side) * upsample for side in (-half, half))
                inside = np.clip(edges[axis], low, high)
                shares.append(np.diff(inside) / (high - low))
            out += (np.outer(*shares) ** power)[..., None] * frame[i, j]
    return out


SHAPES = pytest.mark.parametrize(("upsample", "drop"), [(1, 1.0), (2, 1.0), (2, 0.5), (3, 0.6), (4, 0.25), (8, 1.0)])


@SHAPES
@pytest.mark.parametrize("per_pixel", [False, True])
def test_weights_are_overlaps(rng, upsample, drop, per_pixel) -> None:
    frame = rng.poisson(0.7, (5, 6, 4)).astype(np.uint8)
    field = rng.normal(0, 1.3, (5, 6, 2) if per_pixel else (5, 2))
    for given in (frame, events.SparseSI.from_dense(frame)):
        running = register.Accumulator((5, 6), 4, upsample, "counting", drop_px=drop, dtype="float64")
        result = running.add(given, field).result()
        np.testing.assert_allclose(result.data, twin(frame, field, upsample, drop), atol=1e-12)
        np.testing.assert_allclose(result.variance, twin(frame, field, upsample, drop, 2), atol=1e-12)
        ones = np.ones((5, 6, 1))
        np.testing.assert_allclose(result.coverage, twin(ones, field, upsample, drop)[..., 0], atol=1e-12)


@hypothesis.given(
    frame=hnp.arrays(np.uint16, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 60000)),
    upsample=st.integers(1, 8),
    spread=st.sampled_from([0.0, 0.4, 3.0, 1e3, 1e30]),
    shift=st.sampled_from([0.0, 1.0, -0.25, 2.75, 1e300]),
    seed=st.integers(0, 99),
)
def test_counts_are_conserved_and_dense_equals_sparse(frame, upsample, spread, shift, seed) -> None:
    ny, nx, channels = frame.shape
    field = np.random.default_rng(seed).normal(0, spread, (ny, 2))
    results = []
    for given in (frame, events.SparseSI.from_dense(frame)):
        running = register.Accumulator((ny, nx), channels, upsample, "counting", dtype="float64")
        results.append(running.add(given, field, energy_shift_channels=shift).result())
    dense, sparse = results
    np.testing.assert_allclose(dense.data, sparse.data, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(dense.variance, sparse.variance, rtol=1e-12, atol=1e-9)
    for result in results:
        assert result.counts == frame.sum(dtype=np.int64)
        assert 0 <= result.outside <= result.counts * (1 + 1e-12)
        assert result.data.sum() + result.outside == pytest.approx(result.counts, rel=1e-12)


def test_without_displacement_it_is_the_sum(rng) -> None:
    frames = rng.poisson(3, (4, 7, 9, 5)).astype(np.uint16)
    still = alignment(np.zeros((4, 7, 2)), (7, 9))
    result = register.accumulate(still, frames)
    np.testing.assert_array_equal(result.data, frames.sum(axis=0))
    np.testing.assert_array_equal(result.variance, frames.sum(axis=0))
    np.testing.assert_array_equal(result.coverage, 4)
    np.testing.assert_array_equal(result.mean, frames.mean(axis=0))
    assert result.frames == 4
    assert result.outside == 0
    fine = register.accumulate(still, frames, upsample=4)
    np.testing.assert_array_equal(fine.data, np.kron(frames.sum(axis=0), np.ones((4, 4, 1))) / 16)
    np.testing.assert_allclose(fine.mean, np.kron(frames.mean(axis=0), np.ones((4, 4, 1))), rtol=1e-15)


def test_a_whole_shift_is_a_roll(rng) -> None:
    frame = rng.poisson(3, (8, 9, 5))
    for dy, dx in ((2, -3), (-1, 4), (0, 1)):
        moved = register.accumulate(alignment(np.full((1, 8, 2), (dy, dx)), (8, 9)), [frame])
        rolled = np.roll(frame, (dy, dx), axis=(0, 1)).astype(float)
        rolled[moved.coverage == 0] = 0
        np.testing.assert_array_equal(moved.data, rolled)
        assert int((moved.coverage == 0).sum()) == 72 - (8 - abs(dy)) * (9 - abs(dx))
        assert moved.outside == frame.sum() - rolled.sum()
        assert np.isnan(moved.mean[moved.coverage == 0]).all()


def test_totals_of_a_sparse_series_in_float32_are_right_to_a_millionth(rng) -> None:
    field = lines(30, 24, 0.5)
    frames = [events.SparseSI.from_dense(rng.poisson(0.02, (24, 20, 64)).astype(np.uint8)) for _ in field]
    result = register.accumulate(alignment(field, (24, 20)), iter(frames), upsample=2)
    assert result.data.dtype == np.float32
    total = result.data.sum(dtype=np.float64)
    assert total + result.outside == pytest.approx(sum(int(f.count.sum()) for f in frames), rel=1e-6)
    assert result.outside > 0


def test_dense_sums_of_large_counts_are_right_to_a_millionth() -> None:
    frame = np.full((4, 4, 3), 1_000_001, np.int32)
    result = register.accumulate(alignment(np.full((230, 4, 2), 0.0), (4, 4)), (frame for _ in range(230)))
    np.testing.assert_array_equal(result.data, 230 * 1_000_001)
    shifted = register.accumulate(alignment(lines(230, 4, 0.2), (4, 4)), (frame for _ in range(230)))
    assert shifted.data.sum() + shifted.outside == pytest.approx(48 * 230 * 1_000_001, rel=1e-12)


def test_sums_are_linear_and_know_no_order(rng) -> None:
    field, frames = lines(5, 8, 0.7), rng.poisson(2, (5, 8, 8, 6))
    whole = register.accumulate(alignment(field), frames, upsample=2)
    back = register.accumulate(alignment(field[::-1]), frames[::-1], upsample=2)
    np.testing.assert_allclose(back.data, whole.data, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(back.variance, whole.variance, rtol=1e-13, atol=1e-13)
    first = register.accumulate(alignment(field[:2]), frames[:2], upsample=2)
    rest = register.accumulate(alignment(field[2:]), 3 * frames[2:], upsample=2)
    np.testing.assert_allclose(first.data + rest.data / 3, whole.data, rtol=1e-13, atol=1e-13)


def test_rejected_frames_are_passed_over_unread(rng) -> None:
    class Unreadable:
        shape, dtype = (8, 8, 6), np.dtype(np.uint8)

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("a rejected frame was read")

    frames = list(rng.poisson(2, (3, 8, 8, 6)))
    field = lines(4, 8, 0.7)
    field[2] = 1e6
    result = register.accumulate(
        alignment(field, accepted=[1, 1, 0, 1]), [frames[0], frames[1], Unreadable(), frames[2]]
    )
    expected = register.accumulate(alignment(field[[0, 1, 3]]), frames)
    np.testing.assert_array_equal(result.data, expected.data)
    assert result.frames == 3


def test_one_frame_is_alive_at_a_time(rng) -> None:
    alive: list[weakref.ref] = []

    class Frame(np.ndarray):
        pass

    def frames():
        for _ in range(4):
            assert sum(ref() is not None for ref in alive) == 0
            frame = np.ones((6, 6, 3), np.uint8).view(Frame)
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    register.accumulate(alignment(lines(4, 6, 0.3), accepted=[1, 0, 1, 1]), frames())
    assert len(alive) == 4


def test_an_image_series_and_a_sparse_series_are_series(rng) -> None:
    field, frames = lines(3, 8, 0.5), rng.poisson(2, (3, 8, 8))
    images = register.accumulate(alignment(field), frames, upsample=2)
    spectra = register.accumulate(alignment(field), frames[..., None], upsample=2)
    assert images.data.shape == (16, 16)
    assert images.channel_coverage is None
    np.testing.assert_array_equal(images.data, spectra.data[..., 0])
    np.testing.assert_array_equal(images.mean, spectra.mean[..., 0])
    np.testing.assert_array_equal(images.mean_variance, spectra.mean_variance[..., 0])
    sparse = events.SparseSI.from_dense(np.stack([frames, 0 * frames], axis=-1))
    result = register.accumulate(alignment(field), sparse, upsample=2, dtype="float64")
    np.testing.assert_allclose(result.data[..., 0], images.data, atol=1e-12)
    assert not result.data[..., 1].any()


def test_what_was_not_measured_counts_for_nothing(rng) -> None:
    field, frames, masks = lines(6, 10, 0.6), rng.poisson(9, (6, 10, 10, 3)), rng.random((6, 10, 10)) < 0.3
    spoiled = np.where(masks[..., None], frames, np.nan)
    dense = register.accumulate(alignment(field), spoiled, masks=masks, variance="counting")
    clean = np.where(masks[..., None], frames, 0)
    sparse = [events.SparseSI.from_dense(frame) for frame in frames]
    for result in (dense, register.accumulate(alignment(field), sparse, masks=masks, dtype="float64")):
        np.testing.assert_allclose(result.data, register.accumulate(alignment(field), clean).data, atol=1e-12)
        ones = register.accumulate(alignment(field), masks.astype(float))
        np.testing.assert_allclose(result.coverage, ones.data, atol=1e-12)
        assert result.counts == clean.sum()
        assert result.data.sum() + result.outside == pytest.approx(result.counts)
    same = register.accumulate(alignment(field), frames, masks=masks[0])
    np.testing.assert_allclose(same.counts, frames[:, masks[0]].sum())


def test_energy_offsets_are_undone(rng) -> None:
    spectrum = rng.poisson(40, 30)
    frames = np.stack([np.roll(np.broadcast_to(spectrum, (4, 5, 30)), -s, axis=-1) for s in (0, 3, -4)])
    still = alignment(np.zeros((3, 4, 2)), (4, 5))
    result = register.accumulate(still, frames, energy_shift_channels=[0, 3, -4])
    np.testing.assert_array_equal(result.data[..., 3:-4], 3 * np.broadcast_to(spectrum[3:-4], (4, 5, 23)))
    np.testing.assert_allclose(result.channel_coverage[[0, 2, 3, 25, 26, 29]], [2 / 3, 2 / 3, 1, 1, 2 / 3, 2 / 3])
    np.testing.assert_allclose(result.mean, np.broadcast_to(spectrum, (4, 5, 30)), rtol=1e-12)
    assert result.data.sum() + result.outside == pytest.approx(frames.sum(), rel=1e-12)
    part = register.accumulate(alignment(np.zeros((1, 4, 2)), (4, 5)), frames[:1], energy_shift_channels=[-1.25])
    np.testing.assert_allclose(part.data[0, 0, 3], 0.75 * spectrum[4] + 0.25 * spectrum[5], rtol=1e-12)
    centroid = [np.average(np.arange(30), weights=part.data[0, 0])]
    assert centroid[0] != pytest.approx(np.average(np.arange(30), weights=spectrum))


def test_a_line_moves_by_its_shift() -> None:
    line = np.exp(-0.5 * ((np.arange(64) - 30) / 2.0) ** 2)
    still = alignment(np.zeros((1, 2, 2)), (2, 2))
    for shift in (0.0, 0.3, -7.6, 11.0):
        moved = register.accumulate(
            still, [np.broadcast_to(line, (2, 2, 64))], energy_shift_channels=[shift], variance=False
        ).data[0, 1]
        assert np.average(np.arange(64), weights=moved) == pytest.approx(30 + shift, abs=1e-9)


@pytest.mark.parametrize("upsample", [1, 2])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["counting", "between"])
def test_the_variance_is_the_variance_of_the_sum(upsample, sparse, kind) -> None:
    """Many experiments on one specimen: their scatter is what each of them estimates."""
    rng = np.random.default_rng(3)
    field, trials = lines(8, 5, 0.4, seed=5), 1500
    rate, part = 0.8, 0.0 if not sparse else 0.4
    sums, estimates = [], []
    for _ in range(trials):
        frames = rng.poisson(rate, (8, 5, 5, 2)).astype(np.uint8)
        given = [events.SparseSI.from_dense(f) for f in frames] if sparse else frames
        result = register.accumulate(
            alignment(field), given, upsample, kind, dtype="float64", energy_shift_channels=np.full(8, part)
        )
        sums.append(result.data)
        estimates.append(result.variance)
    inner = np.s_[:, upsample:-upsample, upsample:-upsample, 1:]  # farther out some pixels see one sample or none
    scatter, estimate = np.var(sums, axis=0, ddof=1)[inner[1:]], np.array(estimates)[inner]
    assert not np.isnan(estimate).any()
    error = estimate.std(axis=0) / np.sqrt(trials) + scatter * np.sqrt(3 / trials)
    assert np.abs((estimate.mean(axis=0) - scatter) / error).max() < 4
    assert estimate.mean() == pytest.approx(scatter.mean(), rel=0.03)


def test_variance_between_samples_sees_noise_that_counting_does_not() -> None:
    rng = np.random.default_rng(4)
    field, gain, readout = lines(60, 8, 0.4, seed=6), 5.0, 3.0
    counts, truth = rng.poisson(7, (60, 8, 8, 50)), 25 * 7 + 9
    frames = gain * counts + rng.normal(0, readout, counts.shape)
    result = register.accumulate(alignment(field), frames)
    assert result.variance_kind == "between"
    inner = np.s_[2:-2, 2:-2]
    squares = register.accumulate(alignment(field), np.ones((60, 8, 8), np.uint8)).variance  # sum of w²
    ratio = result.variance[inner] / squares[inner][..., None] / truth
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    mean_variance = result.variance / result.coverage[..., None] ** 2
    np.testing.assert_allclose(result.mean_variance[inner], mean_variance[inner])


def test_variance_of_a_single_sample_is_unknown() -> None:
    result = register.accumulate(alignment(np.zeros((1, 3, 2))), [np.ones((3, 3, 2))])
    assert np.isnan(result.variance).all()
    assert register.accumulate(alignment(np.zeros((1, 3, 2))), [np.ones((3, 3, 2))], variance=False).variance is None


@pytest.mark.parametrize("drop", [0.25, 1.0])
def test_dithered_frames_show_a_lattice_beyond_their_nyquist_frequency(drop) -> None:
    """0.8 periods per px: every frame shows it as 0.2, the sum of dithered frames as it is, damped as theory says."""
    rng = np.random.default_rng(7)
    period, n, size = 0.8, 200, 40
    even = np.broadcast_to((np.arange(n) + 0.5)[:, None, None] * 2 / n - 1, (n, size, 2))
    field = rng.permuted(even, axis=0).astype(np.float32)
    x = np.arange(size)[None, None, :] + field[:, :, None, 1]
    images = rng.poisson(100 * (1 + np.cos(2 * np.pi * period * x)))
    result = register.accumulate(alignment(field), images, upsample=4, drop_px=drop)
    inner = result.mean[20:-20, 20:-20]  # 30 px: whole periods of both
    position = (np.arange(size * 4)[20:-20] + 0.5) / 4 - 0.5
    wave = 2 * (inner * np.exp(-2j * np.pi * period * position)).mean()
    bilinear = np.sinc(period * drop) * np.sinc(period / 4)  # the square, and the pixel it falls on
    assert abs(wave) / 100 == pytest.approx(bilinear, abs=0.01)
    assert abs(np.angle(wave)) < 0.05
    alias = 2 * (inner * np.exp(-2j * np.pi * 0.2 * position)).mean()
    assert abs(alias) < 0.05 * abs(wave)


def test_an_accumulator_is_pure_and_goes_on_from_its_dump(rng) -> None:
    frames, field = rng.poisson(2, (4, 6, 7, 5)), lines(4, 6, 0.4)
    running = register.Accumulator((6, 7), 5, upsample=2)
    empty = running.result()
    assert empty.frames == 0
    assert not empty.data.any()
    assert np.isnan(empty.mean).all()
    for k in (0, 1):
        running.add(frames[k], field[k], energy_shift_channels=0.5)
    before = running.result()
    kept = before.data.copy(), before.variance.copy(), before.coverage.copy()
    other = register.Accumulator((6, 7), 5, upsample=2).load(running.dump())
    for k in (2, 3):
        running.add(frames[k], field[k])
        other.add(frames[k], field[k])
    for old, new in zip(kept, (before.data, before.variance, before.coverage), strict=True):
        np.testing.assert_array_equal(old, new)
    first, second = running.result(), other.result()
    for name in ("data", "variance", "coverage", "channel_coverage"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.frames, first.counts, first.outside) == (second.frames, second.counts, second.outside)
    assert first.provenance == second.provenance
    fresh = register.Accumulator((6, 7), 5).load(register.Accumulator((6, 7), 5).dump())
    assert fresh.frames == 0
    with pytest.raises(errors.ParameterError, match="shape"):
        register.Accumulator((6, 8), 5, upsample=2).load(running.dump())
    with pytest.raises(errors.ParameterError, match="no array named"):
        register.Accumulator((6, 7), 5).load({})


def test_the_same_input_gives_the_same_output(rng) -> None:
    frames, field = rng.poisson(2, (3, 6, 6, 5)), lines(3, 6, 0.4)
    first, second = (register.accumulate(alignment(field), frames) for _ in range(2))
    np.testing.assert_array_equal(first.data, second.data)
    assert first.provenance == second.provenance
    assert first.provenance.function == "register.accumulate"
    assert register.accumulate(alignment(field), 2 * frames).provenance != first.provenance


def test_the_common_region_is_that_of_the_alignment(rng) -> None:
    common = rng.random((4, 4)) < 0.5
    still = alignment(np.zeros((1, 4, 2)), common=common)
    result = register.accumulate(still, np.ones((1, 4, 4)), upsample=3)
    np.testing.assert_array_equal(result.common_region, np.kron(common, np.ones((3, 3), bool)))


def test_progress_and_cancel(rng) -> None:
    seen, stop = [], threading.Event()
    register.accumulate(alignment(lines(4, 6, 0.3)), np.ones((4, 6, 6)), progress=seen.append)
    assert seen[-1] == 1
    assert seen == sorted(seen)

    def frames():
        for k in range(4):
            if k == 2:
                stop.set()
            assert k < 3
            yield np.ones((6, 6))

    with pytest.raises(errors.CancelledError):
        register.accumulate(alignment(lines(4, 6, 0.3)), frames(), cancel=stop)


GOOD = np.ones((2, 6, 6, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upsample": 0}, "upsample is 0"),
        ({"upsample": 9}, "upsample is 9"),
        ({"upsample": 1.5}, "upsample"),
        ({"drop_px": 0.4, "upsample": 2}, "drop_px is 0.4"),
        ({"drop_px": 1.1}, "drop_px is 1.1"),
        ({"drop_px": np.nan}, "drop_px"),
        ({"variance": "poisson"}, "variance is 'poisson'"),
        ({"variance": "between", "dtype": "float32"}, "float32 cannot hold"),
        ({"dtype": "int32"}, "dtype is 'int32'"),
        ({"dtype": "nonsense"}, "dtype is 'nonsense'"),
        ({"frames": GOOD[:1]}, "only 1 frames; the alignment has 2"),
        ({"frames": np.ones((3, 6, 6, 3))}, "more frames than the 2"),
        ({"frames": np.ones((2, 6, 5, 3))}, "frame 0 has shape"),
        ({"frames": [GOOD[0], GOOD[0, ..., :2]]}, "frame 1 has shape"),
        ({"frames": [GOOD[0], GOOD[0, ..., 0]]}, "frame 1 has shape"),
        ({"frames": [GOOD[0], 1j * GOOD[0]]}, "frame 1 has dtype complex"),
        ({"frames": [GOOD[0], np.full((6, 6, 3), np.nan)]}, "frame 1 holds values that are not finite"),
        ({"frames": [GOOD[0], np.full((6, 6, 3), np.inf)]}, "frame 1 holds values that are not finite"),
        ({"frames": [[["a"] * 6] * 6] * 2}, "dtype"),
        ({"frames": [GOOD, GOOD]}, "expected an image"),
        ({"frames": 5}, "spectrum_images is a int"),
        ({"frames": events.SparseSI.from_dense(np.ones((6, 6, 3), np.uint8))}, "the sparse series has shape"),
        ({"field": np.zeros((0, 6, 2))}, "no frames"),
        ({"accepted": [False, False]}, "none of the 2 frames .*another area"),
        ({"masks": np.ones((6, 5))}, "masks has shape"),
        ({"masks": np.full((2, 6, 6), 0.5)}, "masks"),
        ({"energy_shift_channels": [0.0]}, "energy_shift_channels has shape"),
        ({"energy_shift_channels": [0.0, np.nan]}, "energy_shift_channels"),
        ({"energy_shift_channels": [0.5, 0.0], "frames": GOOD[..., 0]}, "only spectra have an energy shift"),
    ],
)
def test_wrong_input_is_told_at_the_door(change, words) -> None:
    given = {"frames": GOOD, "field": np.zeros((2, 6, 2)), "accepted": None} | change
    place = alignment(given.pop("field"), (6, 6), given.pop("accepted"))
    with pytest.raises(errors.ParameterError, match=words):
        register.accumulate(place, given.pop("frames"), **given)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (np.full((6, 2), np.nan), "not finite"),
        (np.full((6, 5, 2), np.inf), "not finite"),
        (np.zeros((5, 2)), "the field of frame 0 has shape"),
        (np.zeros(2), "the field of frame 0 has shape"),
        (np.zeros((6, 2), complex), "the field of frame 0 has shape"),
    ],
)
def test_wrong_fields_change_nothing(field, words) -> None:
    running = register.Accumulator((6, 5))
    with pytest.raises(errors.ParameterError, match=words):
        running.add(np.ones((6, 5)), field)
    assert running.frames == 0
    assert not running.result().data.any()


@pytest.mark.parametrize("given", [None, {"shape": (6, 6)}, np.zeros((2, 6, 2))])
def test_what_is_no_alignment_is_told(given) -> None:
    with pytest.raises(
        errors.ParameterError, match=f"alignment is a {type(given).__name__}; expected what register.al"
    ):
        register.accumulate(given, np.ones((2, 6, 6)))


def test_a_sum_that_does_not_fit_is_told() -> None:
    running = register.Accumulator((100_000, 100_000), 100_000, upsample=8)
    with pytest.raises(errors.ParameterError, match="GB"):
        running.result()


def test_tiny_frames() -> None:
    result = register.accumulate(alignment(np.full((1, 1, 2), 0.25)), np.full((1, 1, 1, 1), 16), upsample=2)
    assert result.data.sum() + result.outside == 16
    empty = events.SparseSI.from_dense(np.zeros((1, 1, 1), np.uint8))
    assert register.accumulate(alignment(np.zeros((1, 1, 2))), [empty]).counts == 0
