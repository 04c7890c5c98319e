"""One bit per pixel: packing loses nothing, and bits lie where the format says."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore import events
from esteemcore.errors import ParameterError

shapes = hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=20)


@given(frames=shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape)))
def test_packing_and_unpacking_gives_the_same_frames(frames) -> None:
    kx = frames.shape[-1]
    packed = events.pack_bits(frames)
    assert packed.dtype == np.uint8
    assert packed.shape == (*frames.shape[:-1], -(-kx // 8))
    unpacked = events.unpack_bits(packed, kx)
    assert unpacked.dtype == np.uint8
    np.testing.assert_array_equal(unpacked, frames)


@given(kx=st.integers(1, 40), data=st.data())
def test_bit_b_of_byte_j_is_pixel_8j_plus_b(kx, data) -> None:
    row = data.draw(hnp.arrays(np.bool_, kx))
    packed = events.pack_bits(row[None])[0]
    value = sum(int(byte) << (8 * j) for j, byte in enumerate(packed))
    assert value == sum(1 << x for x in range(kx) if row[x])  # the bits after the last pixel are zero


def test_known_bytes() -> None:
    np.testing.assert_array_equal(events.pack_bits([[1, 0, 0, 0, 0, 0, 0, 1, 0, 1]]), [[0x81, 0x02]])
    np.testing.assert_array_equal(events.unpack_bits(np.array([[0x81, 0x02]], np.uint8), 10)[0].nonzero()[0], [0, 7, 9])


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", ">u2", "i4", "f8"])
def test_every_value_above_zero_is_an_electron(dtype) -> None:
    frames = np.array([[0, 1, 100, 2]]).astype(dtype)
    if dtype == "f8":
        with pytest.raises(ParameterError, match=r"dtype float64; expected integers or booleans \(\.\.\., ky, kx\)"):
            events.pack_bits(frames)
    else:
        np.testing.assert_array_equal(events.pack_bits(frames), [[0b1110]])


def test_frames_in_any_memory_order() -> None:
    frames = np.random.default_rng(1).random((6, 10, 22)) < 0.3
    expected = events.pack_bits(frames)
    np.testing.assert_array_equal(events.pack_bits(np.asfortranarray(frames)), expected)
    np.testing.assert_array_equal(events.pack_bits(frames[::-1])[::-1], expected)
    np.testing.assert_array_equal(events.unpack_bits(np.asfortranarray(expected), 22), frames)


def test_bits_after_the_last_pixel_are_no_pixels() -> None:
    np.testing.assert_array_equal(events.unpack_bits(np.full((1, 2, 2), 255, np.uint8), 11), np.ones((1, 2, 11)))


def test_what_cannot_be_frames_is_refused_in_words() -> None:
    with pytest.raises(ParameterError, match=r"negative values \(lowest -3\)"):
        events.pack_bits(np.array([[0, -3]]))
    with pytest.raises(ParameterError, match=r"shape \(3,\)"):
        events.pack_bits([1, 0, 1])
    packed = np.zeros((4, 3, 2), np.uint8)
    for kx in (8, 17):
        with pytest.raises(ParameterError, match=rf"kx is {kx}, .*rows of 2 bytes \(16 pixels\); give the detector"):
            events.unpack_bits(packed, kx)
    for kx in (0, -8):
        with pytest.raises(ParameterError, match=f"kx is {kx}; expected an integer >= 1"):
            events.unpack_bits(packed, kx)
    with pytest.raises(ParameterError, match=r"kx is 16\.0; expected an integer"):
        events.unpack_bits(packed, 16.0)
    with pytest.raises(ParameterError, match="dtype uint16"):
        events.unpack_bits(packed.astype(np.uint16), 16)
    with pytest.raises(ParameterError, match=r"shape \(2,\)"):
        events.unpack_bits(packed[0, 0], 16)
