"""The coder of whole numbers: it gives every value back, near the entropy, and its compiled loops do as NumPy does."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore.codec import integers, rans
from esteemcore.codec._rans_kernels import BITS, decode_symbols, encode_symbols


@given(
    symbol=hnp.arrays(np.uint8, st.integers(0, 300)), n=st.integers(1, 5), seed=st.integers(0, 1000)
)  # fmt: skip
def test_symbols_come_back(symbol, n, seed) -> None:
    context = np.random.default_rng(seed).integers(0, n, symbol.size).astype(np.uint8)
    np.testing.assert_array_equal(rans.decode(rans.encode(symbol, context), context), symbol)


def test_the_size_is_the_entropy(rng) -> None:
    symbol = np.rint(rng.normal(100, 3, 200_000)).astype(np.uint8)
    p = np.bincount(symbol) / symbol.size
    entropy = -(p[p > 0] * np.log2(p[p > 0])).sum() * symbol.size
    assert 8 * len(rans.encode(symbol, np.zeros_like(symbol))) < 1.003 * entropy + 2000


def twin(symbol, frequency, start):
    """Encode symbols of one context with Python's whole numbers, after Duda."""
    state, words = rans.LOW, []
    for s in reversed(symbol.tolist()):
        f = int(frequency[s])
        if state >= f << (32 - BITS):
            words.append(state & 0xFFFF)
            state >>= 16
        state = (state // f << BITS) + state % f + int(start[s])
    return state, words[::-1]


def test_the_compiled_loops_do_what_the_definition_says(rng) -> None:
    symbol = rng.poisson(4, 500).astype(np.uint8)
    table = rans.frequencies(np.bincount(symbol, minlength=256))
    assert table.sum() == rans.TOTAL == 1 << BITS
    start = (np.cumsum(table) - table).astype(np.uint16)
    context, words = np.zeros(500, np.uint8), np.empty(500, np.uint16)
    state, at = encode_symbols(symbol, context, table[None], start[None], words)
    expected, expected_words = twin(symbol, table, start)
    assert state == expected
    assert words[at:].tolist() == expected_words
    lookup = np.repeat(np.arange(256, dtype=np.uint8), table)[None]
    back = np.empty(500, np.uint8)
    end, read = decode_symbols(words[at:], np.uint64(state), context, table[None], start[None], lookup, back)
    np.testing.assert_array_equal(back, symbol)
    assert (end, read) == (rans.LOW, len(words) - at)
    assert decode_symbols(words[at:-1], np.uint64(state), context, table[None], start[None], lookup, back)[1] == -1


@pytest.mark.parametrize("counts", [[5], [1, 1], [10**9, 1], [1] * 256, [1] * 255 + [10**12], [0, 0, 3]])
def test_frequencies_add_up_and_none_that_occurs_is_zero(counts) -> None:
    counts = np.array(counts + [0] * (256 - len(counts)))
    table = rans.frequencies(counts)
    assert table.sum() == rans.TOTAL
    assert (table[counts > 0] > 0).all()
    assert table.max() < rans.TOTAL


@given(
    values=hnp.arrays(
        np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.integers(-integers.LARGEST + 1, integers.LARGEST - 1) | st.integers(-3, 3),
    )
)  # fmt: skip
def test_any_matrix_comes_back(values) -> None:
    np.testing.assert_array_equal(integers.decode(integers.encode(values), values.shape), values)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0, 5000.0])
def test_smooth_spectra_with_noise_cost_little_more_than_the_noise(rng, sigma) -> None:
    spectra = np.outer(rng.uniform(50, 100, 1500), np.exp(-np.arange(200) / 60)) * 10
    spectra += np.outer(rng.normal(0, 30, 1500), np.sin(np.arange(200) / 9))
    values = np.rint(spectra + rng.normal(0, sigma, spectra.shape)).astype(np.int32)
    coded = integers.encode(values)
    np.testing.assert_array_equal(integers.decode(coded, values.shape), values)
    bits = 8 * len(coded) / values.size
    # a whole number whose mean is known costs the entropy of the rounded noise; scores and loadings 0.1-0.4 bits more
    noise = 0.5 * np.log2(2 * np.pi * np.e * (sigma**2 + 1 / 12))
    assert bits < noise + 0.2 if sigma > 0.5 else bits < 0.7
