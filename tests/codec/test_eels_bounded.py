"""The error stays below the bound on every voxel, whatever the voxels are; and the size is near the entropy."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from benchmarks.eels_data import GAIN, READOUT, energies, map_errors, measured, truth
from esteemcore.codec.eels import decode_eels, encode_eels
from esteemcore.codec.eels_bounded import EelsBoundedCodec
from esteemcore.codec.quantiser import NoiseLevels
from esteemcore.errors import FormatError, ParameterError

GOLDEN = Path(__file__).parent / "golden"


def assert_bounded(array, back, bound, gain, readout) -> None:
    """Compare every voxel; those without a finite value must be the same, bit by bit."""
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    odd = ~np.isfinite(array)
    assert array[odd].tobytes() == back[odd].tobytes()
    x, y = array[~odd], back[~odd]
    if array.dtype.kind in "iu":
        error = np.array([abs(int(a) - int(b)) for a, b in zip(x.ravel(), y.ravel(), strict=True)], float)
    else:
        error = np.abs(x.astype(np.longdouble) - y)
    sigma = np.sqrt(gain * np.maximum(x.astype(np.longdouble), 0) + np.longdouble(readout) ** 2)
    assert (error <= bound * sigma).all()


floats = hnp.arrays(
    st.sampled_from(["<f2", "<f4", ">f4", "<f8"]), hnp.array_shapes(min_dims=3, max_dims=4, min_side=0, max_side=6)
)
integers = hnp.arrays(
    hnp.integer_dtypes(endianness="?") | hnp.unsigned_integer_dtypes(),
    hnp.array_shapes(min_dims=3, max_dims=4, max_side=6),
)
bounds = st.sampled_from([1e-3, 0.1, 0.5, 1.0, 3.0])
gains = st.sampled_from([0.0, 0.01, 1.0, 8.0, 1e4])
readouts = st.sampled_from([0.0, 0.3, 1.0, 50.0])


@given(array=floats | integers, bound=bounds, gain=gains, readout=readouts)
@example(array=np.full((1, 1, 1), 40, np.float16), bound=1e-3, gain=0.0, readout=0.3)  # no voxel has a level
def test_the_bound_holds_for_any_values(array, bound, gain, readout) -> None:
    if gain == readout == 0:
        gain = 1.0
    block = encode_eels(array, bound_sigma=bound, gain=gain, readout_sigma=readout)
    assert_bounded(array, decode_eels(block), bound, gain, readout)


@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float32, np.float64, np.int16, np.int32, np.uint16]),
    bound=bounds,
    level=st.sampled_from([0.1, 3.0, 1000.0]),
)
def test_the_bound_holds_for_counts_with_spikes(seed, dtype, bound, level) -> None:
    rng = np.random.default_rng(seed)
    counts = 8.0 * rng.poisson(level, (7, 9, 50)) + rng.normal(0, 3, (7, 9, 50))
    counts[rng.random(counts.shape) < 0.01] = rng.choice([0.0, -0.0, 30000.0, 1e4, -200.0])
    if np.dtype(dtype).kind != "f":
        counts = np.rint(counts.clip(np.iinfo(dtype).min, np.iinfo(dtype).max))
    array = counts.astype(dtype)
    assert_bounded(array, decode_eels(encode_eels(array, bound_sigma=bound, gain=8, readout_sigma=3)), bound, 8, 3)


@pytest.mark.parametrize(("bound", "gain", "readout"), [(0.5, 8.0, 3.0), (0.2, 1.0, 0.0), (1.0, 0.0, 2.0), (2, 3, 0.1)])
def test_cells_are_as_wide_as_the_bound_allows(bound, gain, readout) -> None:
    levels = NoiseLevels(bound, gain, readout)
    x = np.linspace(-50, 5000, 200_001)
    k = levels.nearest(x) if readout else levels.nearest(np.maximum(x, 0))
    x = x if readout else np.maximum(x, 0)
    error, sigma = np.abs(x - levels.level(k)), levels.sigma(x)
    assert (error <= bound * sigma + 1e-9).all()
    inner = (x > 10) & (x < 4000)
    assert (error[inner] / sigma[inner]).max() > 0.99 * bound
    assert levels.level(np.zeros(1, np.int32))[0] == 0


def test_whole_levels_need_no_exceptions() -> None:
    levels = NoiseLevels(0.5, 2.0, 3.0)
    level, last, zero = levels.whole_levels(-40, 3000)
    values = np.arange(-40, 3001)
    back = level[np.searchsorted(last, values)]
    assert (np.abs(values - back) <= 0.5 * levels.sigma(values.astype(float))).all()
    assert level[zero] == 0
    # no level less than the greedy choice would do: each cell ends where the next value is too far
    beyond = last[:-1] + 1
    assert (np.abs(beyond - level[:-1]) > 0.5 * levels.sigma(beyond.astype(float))).all()


@pytest.fixture(scope="module")
def image():
    clean = truth((30, 47), 1024)
    return clean, measured(clean)


def test_size_is_near_the_entropy_and_maps_are_not_biased(image) -> None:
    clean, counts = image
    block = encode_eels(counts, bound_sigma=0.5, gain=GAIN, readout_sigma=READOUT)
    back = decode_eels(block)
    assert_bounded(counts, back, 0.5, GAIN, READOUT)
    assert counts.nbytes > 13 * len(block)  # 15 on the full 60 x 94 x 2048, where the mark is 9; 2.05 bits are noise
    energy = energies(1024)
    before, after = map_errors(counts, clean, energy), map_errors(back, clean, energy)
    for name in before:
        assert after[name][1] < 1.1 * before[name][1]
        assert abs(after[name][0] - before[name][0]) < 0.02


def test_integers_and_series_are_as_small(image) -> None:
    _, counts = image
    whole = np.rint(counts).astype(np.int32)
    alone = encode_eels(whole, bound_sigma=0.5, gain=GAIN, readout_sigma=READOUT)
    assert whole.nbytes > 13 * len(alone)
    series = np.stack([whole, whole[::-1]])
    block = encode_eels(series, bound_sigma=0.5, gain=GAIN, readout_sigma=READOUT)
    assert len(block) < 2.05 * len(alone)
    assert_bounded(series[:, :3, :3], decode_eels(block)[:, :3, :3], 0.5, GAIN, READOUT)


def test_same_input_same_bytes(image) -> None:
    _, counts = image
    part = counts[:5]
    assert encode_eels(part, bound_sigma=0.5) == encode_eels(part.copy(), bound_sigma=0.5)


@pytest.mark.parametrize("name", ["eels_bounded_v1", "eels_bounded_int_v1"])
def test_old_blocks_still_open(name) -> None:
    from tests.codec.make_eels_golden import spectra

    back = decode_eels((GOLDEN / f"{name}.bin").read_bytes())
    expected = spectra()
    if "int" in name:
        expected = np.nan_to_num(expected, posinf=0, neginf=0).clip(-1e5, 1e5).astype(np.int32)
    assert_bounded(expected, back, 0.5, 1.0, 2.0)


def test_what_is_wrong_is_said_in_words() -> None:
    si = np.ones((2, 3, 4))
    with pytest.raises(ParameterError, match="both given"):
        encode_eels(si, blocks=[(0, 4, 2)], bound_sigma=0.5)
    with pytest.raises(ParameterError, match="bound_sigma is 0"):
        encode_eels(si, bound_sigma=0)
    with pytest.raises(ParameterError, match="both zero"):
        encode_eels(si, bound_sigma=1, gain=0)
    with pytest.raises(ParameterError, match=r"shape \(3,\)"):
        encode_eels(np.ones(3), bound_sigma=1)
    with pytest.raises(ParameterError, match="dtype complex128"):
        encode_eels(si + 0j, bound_sigma=1)
    with pytest.raises(FormatError, match="max_values"):
        decode_eels(encode_eels(si, bound_sigma=1), max_values=10)


def test_the_codec_says_how_it_was_made() -> None:
    codec = EelsBoundedCodec(0.25, 2.0, 1.0)
    assert (codec.id, EelsBoundedCodec(**codec.config)) == ("esteem.eels-bounded", codec)
    block = codec.encode(np.ones((2, 5)))
    np.testing.assert_allclose(codec.decode(block), 1, atol=0.25 * np.sqrt(3))
