"""Spectrum images come back count for count, from fewer bytes than their entropy leaves to gain."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from benchmarks import codec_data
from esteemcore.codec import decode_events, encode_events, events, frame
from esteemcore.errors import FormatError, ParameterError
from esteemcore.events import SparseSI

MARKS = [(4e-4, 1.12, 1), (4e-4, 1.12, 2), (1e-3, 1.08, 3), (1e-2, 1.05, 4), (5e-2, 1.06, 5)]


def methods(si: SparseSI) -> list[bytes]:
    """Return the blocks of both methods, whichever is smaller."""
    config = {"dtype": si.dtype.name, "hits": len(si.count), "shape": list(si.shape)}
    count = si.count.astype(np.uint32)
    return [events._encode_channels(si, count, config), events._encode_varint(si, count, config)]


@st.composite
def spectrum_images(draw):
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.uint32, np.int16, np.int64, np.uint64]))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=4, min_side=0, max_side=24))
    most = min(np.iinfo(dtype).max, 2**32 - 1)
    high = draw(st.sampled_from([1, 2, 5, 40, most]))
    density = draw(st.sampled_from([0.0, 0.003, 0.05, 0.3, 0.9, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return ((rng.random(shape) < density) * rng.integers(1, high, shape, endpoint=True, dtype=np.uint64)).astype(dtype)


@given(si=spectrum_images(), data=st.data())
def test_nothing_is_lost_and_a_range_of_energy_is_a_slice(si, data) -> None:
    sparse = SparseSI.from_dense(si)
    start = data.draw(st.integers(0, si.shape[-1]))
    stop = data.draw(st.integers(start, si.shape[-1]))
    for block in (encode_events(si), *methods(sparse)):
        back = decode_events(block)
        assert (back.shape, back.dtype) == (si.shape, si.dtype)
        np.testing.assert_array_equal(back.to_dense(), si)
        part = decode_events(block, energy=(start, stop))
        np.testing.assert_array_equal(part.to_dense(), si[..., start:stop])
    assert encode_events(si) == encode_events(sparse) == min(methods(sparse), key=len)


def test_a_single_count_and_none() -> None:
    for value in (1, 2, 3, 2**32 - 1):
        si = np.zeros((200, 200, 2048), np.uint32)
        si[77, 33, 1234] = value
        block = encode_events(si)
        assert len(block) < 200
        back = decode_events(block)
        assert (back.channel.tolist(), back.count.tolist()) == ([1234], [value])
    assert decode_events(encode_events(np.zeros((2, 3, 4), np.uint8))).count.size == 0


@pytest.mark.parametrize("order", ["big-endian", "reversed", "fortran"])
def test_the_layout_in_memory_does_not_matter(order, rng) -> None:
    si = rng.poisson(0.1, (6, 7, 40)).astype(np.uint16)
    same = {"big-endian": si.astype(">u2"), "reversed": si[::-1].copy()[::-1], "fortran": np.asfortranarray(si)}[order]
    assert encode_events(same) == encode_events(si)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((1, 1, 2), -1), "counts of -1 to -1; expected 0 to 4294967295"),
        (np.full((1, 1, 2), 2**32), "counts of 4294967296"),
        (np.zeros((4, 4)), "expected integer counts"),
    ],
)
def test_what_is_no_count_is_refused(bad, message) -> None:
    with pytest.raises(ParameterError, match=message):
        encode_events(bad)


def test_energy_must_be_a_range_of_channels(rng) -> None:
    block = encode_events(rng.poisson(0.1, (4, 4, 10)))
    for energy in [(3, 11), (-1, 4), (5, 4), (1,), 7]:
        with pytest.raises(ParameterError, match="energy"):
            decode_events(block, energy=energy)


def test_a_block_that_is_too_large_for_the_caller_is_refused(rng) -> None:
    block = encode_events(rng.poisson(0.1, (20, 20, 10)))
    assert decode_events(block, max_values=400).shape == (20, 20, 10)
    with pytest.raises(FormatError, match="up to 399 pixels"):
        decode_events(block, max_values=399)


@pytest.mark.parametrize(("filled", "mark", "seed"), MARKS)
def test_size_is_near_the_entropy_of_the_rates(filled, mark, seed) -> None:
    counts, entropy = codec_data.edx((200, 200, 2048), filled, seed)
    sparse = SparseSI.from_dense(counts)
    block = encode_events(sparse)
    assert len(block) <= mark * entropy
    assert len(block) <= min(map(len, methods(sparse)))
    assert encode_events(counts) == block
    back = decode_events(block)
    np.testing.assert_array_equal(back.channel, sparse.channel)
    np.testing.assert_array_equal(back.count, sparse.count)
    np.testing.assert_array_equal(back.offset, sparse.offset)
    np.testing.assert_array_equal(decode_events(block, energy=(600, 700)).to_dense(), counts[..., 600:700])


def test_pixels_of_like_spectra_are_coded_together() -> None:
    counts, _ = codec_data.edx((64, 64, 512), 0.02, 3)
    config = frame.unpack(encode_events(counts)).config
    shuffled = np.random.default_rng(0).permutation(counts.reshape(-1, 512)).reshape(counts.shape)
    assert config["classes"] > 1
    assert len(encode_events(counts)) < 0.98 * len(encode_events(shuffled))
