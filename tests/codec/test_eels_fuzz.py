"""Damaged and hostile blocks are refused: no crash, no hang, no memory beyond what is accepted."""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest

from esteemcore.codec import frame, parts
from esteemcore.codec.eels import decode_eels, encode_eels
from esteemcore.codec.lossless import decode_lossless, encode_lossless
from esteemcore.errors import FormatError

CASES = 500


def blocks():
    rng = np.random.default_rng(1)
    counts = rng.poisson(300 * np.exp(-np.arange(96) / 30) + 2, (12, 12, 96)).astype(np.float32)
    counts[2, 3, 4], counts[5, 5, 50] = np.nan, 9e4
    whole = np.nan_to_num(counts).astype(np.int32)
    return {
        "blocks": (encode_eels(counts, blocks=[(0, 40, 8), (40, 60, 1)], outliers="keep"), decode_small),
        "bounded": (encode_eels(counts, bound_sigma=0.5, readout_sigma=1), decode_small),
        "bounded integers": (encode_eels(whole, bound_sigma=1.0), decode_small),
        "lossless": (encode_lossless(counts), lambda data: decode_lossless(data, max_bytes=1 << 22)),
    }


def decode_small(data):
    return decode_eels(data, max_values=1 << 20)


BLOCKS = blocks()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with a few of them changed, left out, doubled or cut off."""
    raw = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not raw:
            break
        at = int(rng.integers(len(raw)))
        kind = rng.integers(5)
        if kind == 0:
            raw[at] = int(rng.integers(256))
        elif kind == 1:
            raw[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del raw[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            raw[at:at] = raw[at : at + 8]
        else:
            raw[at : at + 8] = (0, 1, 2**31, 2**62, 2**64 - 1)[int(rng.integers(5))].to_bytes(8, "little")
    return bytes(raw)


@pytest.mark.parametrize("name", BLOCKS)
def test_bytes_that_were_changed_are_refused(name) -> None:
    data, decode = BLOCKS[name]
    rng = np.random.default_rng(2)
    for _ in range(CASES):
        changed = mutated(data, rng)
        if changed != data:
            with pytest.raises(FormatError):
                decode(changed)
    for length in range(0, len(data), max(1, len(data) // 100)):
        with pytest.raises(FormatError):
            decode(data[:length])


@pytest.mark.parametrize("name", BLOCKS)
def test_hostile_payloads_with_a_valid_checksum_give_an_array_or_an_error(name) -> None:
    """Parts are changed one by one and sealed again, so that the checksum does not protect the decoder."""
    data, decode = BLOCKS[name]
    opened = frame.unpack(data)
    rng = np.random.default_rng(3)
    shape = decode(data).shape
    tracemalloc.start()
    try:
        for case in range(CASES):
            payload = opened.payload
            if case % 2:
                payload = mutated(payload, rng)
            else:
                n = int.from_bytes(payload[:4], "little")
                pieces = parts.split(payload, n)
                chosen = int(rng.integers(n))
                pieces[chosen] = mutated(pieces[chosen], rng)
                payload = parts.join(pieces)
            with contextlib.suppress(FormatError):
                assert decode(frame.pack(opened.codec, opened.config, payload)).shape == shape
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", BLOCKS)
def test_hostile_heads_give_an_array_or_an_error(name) -> None:
    data, decode = BLOCKS[name]
    opened = frame.unpack(data)
    rng = np.random.default_rng(4)
    values = [
        None, -1, 0, 1, 3, 2**31, 2**62, 2**80, 1.5, 1e308, float("nan"), "", "<f4", "<i8", "|u1", "O", "<f3", "<U9",
        True, [], [0], [12, 12, 96], [96, 12, 12], [12, 12, 2**40], [2**20, 1, 1], [[0, 96, 1]], [[0, 96, 96]],
        [[0, 96, 0]], [[0, 2**40, 2]], [[5, 3, 1]], [[0, 40, 8], [40, 60, 1], [60, 96, 2**70]], {"a": 1}, [[[]]],
    ]  # fmt: skip
    tracemalloc.start()
    try:
        for _ in range(CASES):
            config = dict(opened.config)
            for _ in range(int(rng.integers(1, 3))):
                key = str(rng.choice(list(config)))
                value = values[int(rng.integers(len(values)))]
                if value == {"a": 1}:
                    config.pop(key)
                else:
                    config[key] = value
                if not config:
                    break
            with contextlib.suppress(FormatError):
                assert isinstance(decode(frame.pack(opened.codec, config, opened.payload)), np.ndarray)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_memory_is_asked_for() -> None:
    opened = frame.unpack(encode_eels(np.zeros((4, 4, 64), np.float32), bound_sigma=0.5))
    for shape in ([2**14, 2**14, 2], [1, 1, 2**28], [2**28, 1, 1], [2**40, 2**40, 1]):
        tracemalloc.start()
        with pytest.raises(FormatError):
            decode_eels(frame.pack(opened.codec, {**opened.config, "shape": shape}, opened.payload))
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()
