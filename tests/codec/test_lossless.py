"""Every bit comes back, of any dtype, shape and memory order; damaged bytes are refused."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given

from esteemcore.codec import frame, lossless
from esteemcore.codec._bit_kernels import from_planes, to_planes
from esteemcore.codec.lossless import LosslessCodec, decode_lossless, encode_lossless
from esteemcore.errors import FormatError, ParameterError

GOLDEN = Path(__file__).parent / "golden"

dtypes = hnp.scalar_dtypes() | hnp.byte_string_dtypes() | hnp.unicode_string_dtypes() | hnp.array_dtypes()


@given(array=hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_every_bit_comes_back(array) -> None:
    back = decode_lossless(encode_lossless(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.c_contiguous


@given(bits=hnp.arrays(np.uint32, hnp.array_shapes(min_dims=3, max_dims=3)))
def test_payloads_of_nan_and_the_sign_of_zero_are_kept(bits) -> None:
    bits.flat[0], bits.flat[-1] = 0x80000000, 0x7FC12345
    array = bits.view(np.float32)
    assert decode_lossless(encode_lossless(array)).tobytes() == bits.tobytes()


@pytest.mark.parametrize("order", ["F", "strided", "reversed", "big endian"])
def test_memory_order_does_not_matter(rng, order) -> None:
    data = rng.integers(0, 1000, (6, 7, 8))
    array = {
        "F": np.asfortranarray(data), "strided": np.repeat(data, 2, axis=1)[:, ::2], "reversed": data[::-1][::-1],
        "big endian": data.astype(">i8"),
    }[order]  # fmt: skip
    back = decode_lossless(encode_lossless(array))
    np.testing.assert_array_equal(back, data)
    assert back.dtype == array.dtype


def test_arrays_of_several_chunks(rng) -> None:
    array = rng.poisson(3, (3, lossless.CHUNK // 2 - 5)).astype(np.uint8)
    block = encode_lossless(array)
    np.testing.assert_array_equal(decode_lossless(block), array)
    assert array.nbytes > 2.4 * len(block)


def test_planes_are_the_bits() -> None:
    values = np.random.default_rng(0).integers(0, 256, (24, 3), np.uint8)
    planes = np.empty((24, 3), np.uint8)
    to_planes(values, planes)
    twin = np.packbits(
        np.unpackbits(values, axis=1, bitorder="little").T, axis=1, bitorder="little"
    )  # bit b of byte i of all values
    np.testing.assert_array_equal(planes, twin)
    back = np.empty_like(values)
    from_planes(planes, back)
    np.testing.assert_array_equal(back, values)


def test_spectra_are_stored_channel_by_channel_and_images_row_by_row(rng) -> None:
    spectra = rng.poisson(np.broadcast_to(1e5 * np.exp(-np.arange(256) / 20), (16, 16, 256))).astype(np.uint32)
    assert frame.unpack(encode_lossless(spectra)).config["order"] == [2, 0, 1]
    images = rng.poisson(np.broadcast_to(1e5 * rng.random((16, 16, 1)) ** 4, (16, 16, 256))).astype(np.uint32)
    assert frame.unpack(encode_lossless(images)).config["order"] == [0, 1, 2]
    # the best order leaves little more than the entropy of shot noise
    rate = spectra.mean(axis=(0, 1))
    bits = 0.5 * np.log2(2 * np.pi * np.e * rate + 1).sum() * 256
    assert len(encode_lossless(spectra)) * 8 < 1.25 * bits + 8000


def test_objects_and_bad_levels_are_refused() -> None:
    with pytest.raises(ParameterError, match="Python objects"):
        encode_lossless(np.array([None]))
    with pytest.raises(ParameterError, match="level is 0"):
        encode_lossless(np.zeros(3), level=0)


def test_the_codec_says_how_it_was_made() -> None:
    codec = LosslessCodec(level=9)
    assert codec.id == "esteem.lossless"
    assert LosslessCodec(**codec.config) == codec
    np.testing.assert_array_equal(codec.decode(codec.encode(np.arange(5))), np.arange(5))


def test_old_blocks_still_open() -> None:
    array = decode_lossless((GOLDEN / "lossless_v1.bin").read_bytes())
    expected = np.sqrt(np.arange(2 * 3 * 40, dtype=np.float32)).reshape(2, 3, 40) * np.float32(-1)
    assert array.tobytes() == expected.tobytes()


def test_more_than_is_accepted_is_refused_before_memory_is_asked_for() -> None:
    block = encode_lossless(np.zeros((1000, 1000)))
    with pytest.raises(FormatError, match="max_bytes"):
        decode_lossless(block, max_bytes=10**6)
    opened = frame.unpack(block)
    for shape in ([10**6, 10**6], [2**40] * 40, [-1], "x", [1e3], None, [10**9]):
        with pytest.raises(FormatError):
            decode_lossless(
                frame.pack(opened.codec, {**opened.config, "shape": shape, "order": [0, 1]}, opened.payload)
            )


@pytest.mark.parametrize("dtype", ["O", "|O8", [["a", "O"]], "zz", 3, None, [["a"]], [[[[[]]]]], "f4,f4" * 1000])
def test_strange_dtypes_are_refused(dtype) -> None:
    opened = frame.unpack(encode_lossless(np.zeros(3)))
    with pytest.raises(FormatError):
        decode_lossless(frame.pack(opened.codec, {**opened.config, "dtype": dtype}, opened.payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [0, 2**31, 2**31, 2**31], "order": [0, 1, 2, 3], "dtype": "<f4"},
        {"shape": [0, 2**32, 2**32], "order": [0, 1, 2], "dtype": "<f8"},
        {"shape": [64], "order": [0], "dtype": "(1,)f4"},
    ],
)
def test_heads_that_numpy_cannot_follow_are_refused(changes) -> None:
    opened = frame.unpack(encode_lossless(np.arange(64, dtype=np.float32)))
    with pytest.raises(FormatError):
        decode_lossless(frame.pack(opened.codec, {**opened.config, **changes}, opened.payload))
