"""Factor 1 is exact to four figures, coarse blocks keep sums and maps, and the size reaches the paper's."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from benchmarks.eels_data import GAIN, PAPER_BLOCKS, READOUT, SIMPLE_BLOCKS, energies, map_errors, measured, truth
from esteemcore.codec.eels import EelsBlocksCodec, decode_eels, encode_eels
from esteemcore.codec.energy_blocks import automatic_blocks, channel_blocks
from esteemcore.codec.figures import from_figures, to_figures
from esteemcore.errors import FormatError, ParameterError

GOLDEN = Path(__file__).parent / "golden"


def four_figures(array):
    """Return an array to four significant figures by way of text; values stay where that would be infinite."""
    rounded = np.array([float(f"{float(x):.3e}") for x in array.ravel()]).reshape(array.shape)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(rounded) <= np.finfo(array.dtype).max, rounded, array).astype(array.dtype)


@given(
    array=hnp.arrays(
        st.sampled_from(["<f4", ">f4"]), hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(width=32) | st.floats(-2000, 2000, width=32),
    )
)  # fmt: skip
def test_factor_one_is_the_input_to_four_figures(array) -> None:
    back = decode_eels(encode_eels(array, blocks=[(0, array.shape[-1], 1)]))
    np.testing.assert_array_equal(back, four_figures(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(np.isnan(back), np.isnan(array))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_largest_values_stay_finite(dtype) -> None:
    most = np.finfo(dtype).max
    array = np.array([[[most, -most, 0.999 * most, np.inf, -np.inf]]], dtype)
    back = decode_eels(encode_eels(array, blocks=[(0, 5, 1)]))
    np.testing.assert_array_equal(back, four_figures(array))
    assert np.isfinite(back).sum() == 3


@given(
    array=hnp.arrays(
        hnp.integer_dtypes(endianness="?") | hnp.unsigned_integer_dtypes(), hnp.array_shapes(min_dims=3, max_dims=3)
    )
)
def test_factor_one_of_integers(array) -> None:
    back = decode_eels(encode_eels(array, blocks=[(0, array.shape[-1], 1)]))
    limits = np.iinfo(array.dtype)
    for a, b in zip(array.ravel().tolist(), back.ravel().tolist(), strict=True):
        rounded = round(a, 4 - len(str(abs(a)))) if abs(a) > 9999 else a
        assert b == min(max(rounded, limits.min), limits.max)


def test_numbers_of_figures_rise_with_the_value() -> None:
    values = np.sort(np.concatenate([-np.logspace(-19, 22.9, 5000), [0.0], np.logspace(-19, 22.9, 5000)]))
    number, inside = to_figures(values)
    assert inside.all()
    assert (np.diff(number) >= 0).all()
    np.testing.assert_array_equal(from_figures(number), four_figures(values))
    edge = np.array([1.0, 9.9994, 9.9996, 99995.0, 0.1, 1e-19, 1e22, 999.95, 2.0005])
    np.testing.assert_array_equal(from_figures(to_figures(edge)[0]), four_figures(edge))
    assert not to_figures(np.array([np.nan, np.inf, 1e23, 1e-20]))[1].any()


@pytest.fixture(scope="module")
def image():
    clean = truth((40, 60), 2048)
    return clean, measured(clean, spikes=0.0)


@pytest.mark.parametrize(("blocks", "ratio"), [(PAPER_BLOCKS, 21), (SIMPLE_BLOCKS, 48)], ids=["many edges", "simple"])
def test_the_size_is_below_the_papers_and_maps_are_better_than_raw(image, blocks, ratio) -> None:
    """The mark on 60 x 94 pixels, 21 and 48, holds for less than half of the pixels too; there it is 32 and 52."""
    clean, counts = image
    energy = energies()
    block = encode_eels(counts, energy, blocks, gain=GAIN, readout_sigma=READOUT)
    assert counts.nbytes > ratio * len(block)
    back = decode_eels(block)
    fine = (energy >= 452) & (energy < 482)
    np.testing.assert_array_equal(back[:3, :, fine], four_figures(counts[:3, :, fine]))
    before, after = map_errors(counts, clean, energy), map_errors(back, clean, energy)
    for name in before:
        assert abs(after[name][0]) < 0.05, name
        assert after[name][1] < 0.6 * before[name][1], name


def test_without_components_the_sums_of_blocks_and_the_mean_spectrum_stay(image) -> None:
    _, counts = image
    energy = energies()
    back = decode_eels(encode_eels(counts, energy, PAPER_BLOCKS, n_components=0, outlier_sigma=None))
    np.testing.assert_allclose(back.mean(axis=(0, 1)), counts.mean(axis=(0, 1)), rtol=0.02)
    for start, stop, _ in channel_blocks(PAPER_BLOCKS, 2048, energy):
        part = slice(start, stop)
        noise = np.sqrt(GAIN * counts[..., part].sum(axis=-1).clip(0) + READOUT**2 * (stop - start))
        shift = (back[..., part].sum(axis=-1) - counts[..., part].sum(axis=-1)) / noise
        assert np.sqrt((shift**2).mean()) < 0.35, (start, stop)


def test_components_reduce_the_noise_of_coarse_blocks_only(image) -> None:
    clean, counts = image
    raw = counts - clean
    errors = {}
    for n in (0, 8, 30):
        back = decode_eels(
            encode_eels(counts, blocks=[(0, 1000, 20), (1000, 1050, 1), (1050, 2048, 20)], n_components=n)
        )
        errors[n] = (back - clean)[..., :1000].std()
        np.testing.assert_allclose((back - clean)[..., 1000:1050].std(), raw[..., 1000:1050].std(), rtol=1e-3)
    assert errors[8] < errors[30] < errors[0] < 0.4 * raw[..., :1000].std()


def test_negative_values_and_zeros_survive_the_logarithm(rng) -> None:
    slope = np.linspace(-50, 50, 400)
    counts = (slope + rng.normal(0, 1, (12, 12, 400))).astype(np.float32)
    back = decode_eels(encode_eels(counts, blocks=[(0, 400, 16)], n_components=4))
    assert np.abs(back.mean(axis=(0, 1)) - slope).max() < 0.5
    assert np.abs(back - slope).max() < 2
    zeros = decode_eels(encode_eels(np.zeros((9, 9, 64), np.float32), blocks=[(0, 64, 16)]))
    np.testing.assert_array_equal(zeros, 0)


def test_outliers_are_removed_or_kept_and_what_is_no_number_stays(image) -> None:
    clean, counts = image
    counts = counts[:20, :20].copy()
    spikes = [(3, 4, 100), (10, 11, 700), (19, 19, 1900)]
    for place in spikes:
        counts[place] += 5000
    counts[5, 5, 300], counts[6, 6, 1200], counts[7, 7, 301] = np.nan, -np.inf, 1e30
    blocks = [(0, 2048, 16)]
    removed, kept = (decode_eels(encode_eels(counts, blocks=blocks, outliers=how)) for how in ("remove", "keep"))
    for place in spikes:
        assert abs(removed[place] - clean[place]) < 6 * np.sqrt(GAIN * clean[place] + READOUT**2)
        assert kept[place] == counts[place]
    for back in (removed, kept):
        assert np.isnan(back[5, 5, 300])
        assert back[6, 6, 1200] == -np.inf
        assert back[7, 7, 301] == np.float32(1e30)
        assert np.isfinite(back).sum() == back.size - 2
    raw = decode_eels(encode_eels(counts, blocks=blocks, outlier_sigma=None, n_components=0))
    assert raw[3, 4, 90:110].mean() > removed[3, 4, 90:110].mean() + 100


def test_edges_and_the_zero_loss_peak_keep_factor_one() -> None:
    energy = energies()
    clean = truth((60, 94), 2048)[:8]
    counts = measured(np.repeat(clean, 5, axis=0), spikes=0)
    rows = counts.reshape(-1, 2048)
    blocks = automatic_blocks(rows.mean(axis=0, dtype=float), rows.std(axis=0) / np.sqrt(len(rows)))
    factor = np.concatenate([np.full(stop - start, f) for start, stop, f in blocks])
    assert blocks[0][0] == 0
    assert len(factor) == 2048
    for onset in (346, 456):
        assert (factor[np.abs(energy - onset - 2) < 2] == 1).all(), onset
    assert factor[(energy > 110) & (energy < 300)].min() >= 16
    assert factor[(energy > 600) & (energy < 700)].min() >= 16
    loss = np.arange(-20, 180, 0.1)
    low_loss = 1e6 * np.exp(-0.5 * (loss / 0.4) ** 2) + 3e4 / (1 + ((loss - 22) / 6) ** 2) * (loss > 2) + 50
    factor = np.concatenate([np.full(b - a, f) for a, b, f in automatic_blocks(low_loss, np.sqrt(low_loss) / 50)])
    assert (factor[np.abs(loss) < 1.5] == 1).all()
    assert factor[loss > 60].min() >= 16


def test_automatic_blocks_make_it_small_without_bias(image) -> None:
    clean, counts = image
    energy = energies()
    block = encode_eels(counts, energy, gain=GAIN, readout_sigma=READOUT)
    assert counts.nbytes > 15 * len(block)
    after = map_errors(decode_eels(block), clean, energy)
    assert max(abs(bias) for bias, _ in after.values()) < 0.05


def test_each_frame_of_a_series_is_coded_by_itself(image) -> None:
    _, counts = image
    series = np.stack([counts[:8, :8], counts[8:16, :8]])
    back = decode_eels(encode_eels(series, blocks=[(0, 2048, 32)]))
    for frame, one in zip(back, series, strict=True):
        np.testing.assert_array_equal(frame, decode_eels(encode_eels(one, blocks=[(0, 2048, 32)])))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, ">u4", np.float64, ">f4", np.float16])
def test_the_dtype_comes_back(image, dtype) -> None:
    _, counts = image
    array = np.clip(np.rint(counts[:9, :9, :512]), 0, 30000).astype(dtype)
    back = decode_eels(encode_eels(array, blocks=[(0, 400, 20), (400, 420, 1)]))
    assert back.dtype == np.dtype(dtype)
    reference = array.astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(back.astype(float).mean(axis=(0, 1))[:400], reference[:400], rtol=0.05, atol=0.6)


def test_empty_and_tiny_arrays() -> None:
    for shape in ((0, 3, 8), (2, 0, 8), (1, 1, 1), (1, 1, 2), (2, 2, 3), (1, 2, 1, 9), (3, 3, 0)):
        for blocks in (None, [(0, shape[-1], 4)] if shape[-1] else []):
            back = decode_eels(encode_eels(np.ones(shape), blocks=blocks))
            np.testing.assert_allclose(back, np.ones(shape), atol=1e-3)


def test_old_blocks_still_open() -> None:
    from tests.codec.make_eels_golden import spectra

    back, expected = decode_eels((GOLDEN / "eels_blocks_v1.bin").read_bytes()), spectra()
    np.testing.assert_array_equal(back[..., 20:30], four_figures(expected[..., 20:30]))
    assert np.isnan(back[1, 2, 3])
    assert back[0, 0, 60] == -np.inf
    assert back[7, 8, 40] == 12345
    good = np.isfinite(expected) & (np.abs(expected) < 1e4)
    good[..., 20:30] = False
    assert np.sqrt(((back[good] - expected[good]) ** 2).mean()) < 16


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([(0, 10, 2), (5, 20, 2)], "before the end"),
        ([(10, 10, 2)], "holds no channel"),
        ([(0, 100, 2)], "the stop of block 0 is 100"),
        ([(0, 10, 0)], "the factor of block 0 is 0"),
        ([(0, 10, 2**70)], "the factor of block 0 is 1180591620717411303424; expected"),
        ([(0, 10)], "expected \\(start, stop, factor\\)"),
        ([(0, 9.5, 2)], "expected an integer"),
    ],
)
def test_wrong_blocks_are_refused_in_words(blocks, message) -> None:
    with pytest.raises(ParameterError, match=message):
        encode_eels(np.ones((3, 3, 64)), blocks=blocks)


def test_blocks_in_ev_and_in_channels() -> None:
    energy = np.linspace(100, 200, 101)
    assert channel_blocks([(110, 150, 4), (160, 1000, 8)], 101, energy) == [
        (0, 10, 1), (10, 50, 4), (50, 60, 1), (60, 101, 8)
    ]  # fmt: skip
    assert channel_blocks([(10, 50, 4)], 60) == [(0, 10, 1), (10, 50, 4), (50, 60, 1)]
    for wrong in (energy[:50], energy[::-1], energy * np.nan):
        with pytest.raises(ParameterError, match="energy_ev"):
            encode_eels(np.ones((3, 3, 101)), wrong, [(110, 150, 4)])
    with pytest.raises(ParameterError, match=r"shape \(3, 101\)"):
        encode_eels(np.ones((3, 101)))


def test_the_codec_says_how_it_was_made() -> None:
    codec = EelsBlocksCodec(blocks=[(0, 8, 2)], n_components=3, outliers="keep")
    assert codec.id == "esteem.eels-blocks"
    assert EelsBlocksCodec(**codec.config).config == codec.config
    with pytest.raises(FormatError, match="expected an EELS"):
        decode_eels((GOLDEN / "lossless_v1.bin").read_bytes())
