"""Whatever the bytes, decoding ends soon with a value or a `FormatError`."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from esteemcore import codec
from esteemcore.codec import frame
from esteemcore.errors import FormatError
from scripts import fuzz_codecs

BLOCKS = [frame.unpack(block) for block in fuzz_codecs.seeds(np.random.default_rng(0))]


def test_changed_blocks() -> None:
    for block in fuzz_codecs.cases(100, seed=4):
        fuzz_codecs.check(block)  # compiled
    refused, slowest = 0, 0.0
    for block in fuzz_codecs.cases(2000, seed=5):
        began = time.perf_counter()
        refused += fuzz_codecs.check(block)
        slowest = max(slowest, time.perf_counter() - began)
    assert refused > 1500
    assert slowest < 20  # seconds: no head makes a decoder work for ages


@settings(max_examples=200)
@given(payload=st.binary(max_size=200), block=st.sampled_from(BLOCKS))
def test_any_payload_under_an_honest_head(payload, block) -> None:
    fuzz_codecs.check(frame.pack(block.codec, block.config, payload))


@given(data=st.binary(max_size=100))
def test_any_bytes(data) -> None:
    for decode in (codec.decode, *fuzz_codecs.DECODERS):
        with pytest.raises(FormatError):
            decode(data)


@pytest.mark.parametrize("shape", [[2**40, 1, 1], [1, 1, 2**40], [2**39, 2**39, 5], [0, 2**40, 3], [3, 4]])
@pytest.mark.parametrize("name", ["events", "binary-frames"])
def test_a_head_that_asks_for_too_much_memory(shape, name) -> None:
    block = (
        codec.encode_events(np.ones((2, 2, 2), int))
        if name == "events"
        else codec.encode_binary(np.ones((2, 2, 2), np.uint8))
    )
    head = frame.unpack(block)
    with pytest.raises(FormatError):
        codec.decode(frame.pack(head.codec, head.config | {"shape": shape}, head.payload))


def test_a_table_that_asks_for_too_much_memory() -> None:
    head = frame.unpack(codec.encode_events(np.random.default_rng(0).poisson(0.1, (32, 32, 64))))
    assert head.config["method"] == "channels"
    block = frame.pack(head.codec, head.config | {"shape": [32, 32, 2**27], "segments": 2**28}, head.payload)
    with pytest.raises(FormatError, match="too many"):
        codec.decode(block)
