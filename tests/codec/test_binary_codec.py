"""One-bit frames come back bit for bit, from little more than the entropy of their pattern."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numcodecs.zstd import Zstd

from benchmarks import codec_data
from esteemcore.codec import binary, decode_binary, encode_binary, frame
from esteemcore.errors import FormatError, ParameterError
from esteemcore.events import events_from_packed


@st.composite
def batches(draw):
    n, ky, row_bytes = draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=20))
    density = draw(st.sampled_from([0.0, 0.002, 0.05, 0.5, 0.97, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rate = density * rng.choice([1.0, 0.1], (ky, 8 * row_bytes))
    return np.packbits(rng.random((n, ky, 8 * row_bytes)) < rate, axis=-1, bitorder="little").reshape(n, ky, row_bytes)


@given(packed=batches())
def test_nothing_is_lost(packed) -> None:
    ways = [encode_binary, lambda p: binary._encode_gaps(p.shape, p), lambda p: binary._encode_bits(p.shape, p)]
    if packed.size:
        ways.append(lambda p: binary._encode_classes(p.shape, p))
    for encode in ways:
        back = decode_binary(encode(packed))
        assert (back.shape, back.dtype) == (packed.shape, packed.dtype)
        np.testing.assert_array_equal(back, packed)


def peers(packed: np.ndarray) -> dict[str, int]:
    """Return the sizes in other ways: 16-bit pixels, gaps as bytes and packed bits with zstd."""
    flat = np.flatnonzero(np.unpackbits(packed.reshape(-1), bitorder="little"))
    gaps = np.diff(flat, prepend=-1) - 1
    gap_bytes = np.full((gaps // 255 + 1).sum(), 255, np.uint8)
    gap_bytes[np.cumsum(gaps // 255 + 1) - 1] = gaps % 255
    return {
        "index": 2 * len(flat),
        "gaps": len(Zstd(level=3).encode(gap_bytes)),
        "bits": len(Zstd(level=3).encode(packed)),
    }


@pytest.mark.parametrize("n", [256, 1024])
@pytest.mark.parametrize("filled", [1e-3, 1e-2, 5e-2])
def test_size_is_near_the_entropy_of_the_pattern(filled, n) -> None:
    packed, entropy = codec_data.frames(codec_data.disk_pattern((256, 256), filled), n, seed=n)
    block = encode_binary(packed)
    assert len(block) <= 1.15 * entropy * n
    assert len(block) <= min(peers(packed).values())
    np.testing.assert_array_equal(decode_binary(block), packed)


def test_frames_that_repeat_cost_little_more_than_one(rng) -> None:
    packed, _ = codec_data.frames(codec_data.disk_pattern((64, 64), 0.1), 1, seed=1)
    assert len(encode_binary(packed.repeat(100, 0))) < 1.3 * len(encode_binary(packed))
    several = codec_data.frames(np.full((64, 64), 0.3), 20, seed=1)[0]
    block = encode_binary(several[rng.permutation(np.arange(200) % 20)])
    assert frame.unpack(block).config["method"] == "bits"
    assert len(block) < 1.3 * several.size


def test_bright_pixels_are_coded_by_their_gaps() -> None:
    pattern = np.full((64, 64), 0.01)
    pattern[16:48, 16:48] = 0.98
    packed, entropy = codec_data.frames(pattern, 200, seed=2)
    block = encode_binary(packed)
    assert len(block) < 1.1 * entropy * 200
    np.testing.assert_array_equal(decode_binary(block), packed)


def test_electrons_are_counted_whole(rng) -> None:
    packed = np.packbits(rng.random((50, 33, 40)) < 0.1, axis=-1, bitorder="little")
    there, back = (events_from_packed(p, 40) for p in (packed, decode_binary(encode_binary(packed))))
    np.testing.assert_array_equal(there.pixel, back.pixel)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)])
def test_what_is_not_packed_is_refused(bad) -> None:
    with pytest.raises(ParameterError, match=r"expected uint8 \(n, ky, kx/8\)"):
        encode_binary(bad)


def test_a_block_that_is_too_large_for_the_caller_is_refused() -> None:
    block = encode_binary(np.zeros((4, 8, 2), np.uint8))
    assert decode_binary(block, max_values=64).shape == (4, 8, 2)
    with pytest.raises(FormatError, match="up to 63 bytes"):
        decode_binary(block, max_values=63)


@given(sums=hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=st.integers(0, 9)))
def test_bins_are_sums_of_their_pixels(sums) -> None:
    halved = sums
    for bins in (2, 4, 8, 16, 32):
        halved = binary.halved(halved)
        rows = np.add.reduceat(sums, np.arange(0, sums.shape[0], bins), axis=0)
        np.testing.assert_array_equal(halved, np.add.reduceat(rows, np.arange(0, sums.shape[1], bins), axis=1))
        places = np.add.reduceat(np.ones_like(sums), np.arange(0, sums.shape[0], bins), axis=0)
        expected = np.add.reduceat(places, np.arange(0, sums.shape[1], bins), axis=1)
        np.testing.assert_array_equal(binary.pixels_of_bins(sums.shape, bins), expected)
