"""Each compiled loop agrees with a plain twin, and undoes what its partner did."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore.codec import (
    _binary_kernels,
    _entry_kernels,
    _map_kernels,
    _place_kernels,
    _range_kernels,
    _rice_kernels,
    _varint_kernels,
    maps,
    zstd,
)
from esteemcore.errors import FormatError
from esteemcore.events import SparseSI

numbers = st.lists(st.integers(0, 2**20) | st.integers(0, 3), min_size=1, max_size=40)


def rice_bits(gap: int, k: int) -> str:
    """Return the Golomb-Rice code of a gap, first bit first."""
    return "0" * (gap >> k) + "1" + "".join(str(gap >> i & 1) for i in range(k))


def gamma_bits(value: int, scale: int) -> str:
    """Return the Exp-Golomb code of a number, first bit first."""
    upper = (value >> scale) + 1
    length = upper.bit_length() - 1
    low = (upper << scale | value & (1 << scale) - 1) & (1 << length + scale) - 1
    return "0" * length + "1" + "".join(str(low >> i & 1) for i in range(length + scale))


def bits_of(data: np.ndarray) -> str:
    return "".join(map(str, np.unpackbits(data, bitorder="little")))


def padded(out: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([out[:size], np.full(_rice_kernels.PADDING, 255, np.uint8)])


@given(gaps=numbers, k=st.integers(0, 56))
def test_rice(gaps, k) -> None:
    gaps = [gap % (200 << k) for gap in gaps]
    out = np.zeros(8 + sum(gap >> k for gap in gaps) // 8 + len(gaps) * (k + 17) // 8, np.uint8)
    acc, n_bits, at = 0, 0, 0
    for gap in gaps:
        acc, n_bits, at = _rice_kernels.put_rice(acc, n_bits, at, out, gap, k)
    size = _rice_kernels.finish_bits(acc, n_bits, at, out)
    expected = "".join(rice_bits(gap, k) for gap in gaps)
    assert bits_of(out[:size]) == expected + "0" * (-len(expected) % 8)
    bit, data = 0, padded(out, size)
    for gap in gaps:
        back, bit = _rice_kernels.get_rice(data, bit, len(expected), k)
        assert back == gap
    assert bit == len(expected)
    assert _rice_kernels.get_rice(data, bit, len(expected), k)[0] == -1


@given(values=st.lists(st.integers(0, 2**32), min_size=1, max_size=20), scale=st.integers(0, 16))
def test_gamma(values, scale) -> None:
    out = np.zeros(12 * len(values) + 16, np.uint8)
    acc, n_bits, at = 0, 0, 0
    for value in values:
        acc, n_bits, at = _rice_kernels.put_gamma(acc, n_bits, at, out, value, scale)
    size = _rice_kernels.finish_bits(acc, n_bits, at, out)
    expected = "".join(gamma_bits(value, scale) for value in values)
    assert bits_of(out[:size])[: len(expected)] == expected
    bit, data = 0, padded(out, size)
    for value in values:
        back, bit = _rice_kernels.get_gamma(data, bit, 8 * size, scale)
        assert back == value


@pytest.mark.parametrize("p", [0.4, 0.2, 0.1, 0.03, 1e-3, 1e-5])
def test_the_rice_parameter_is_the_best_one_and_near_the_entropy(p) -> None:
    gaps = np.arange(int(40 / p))
    chance = p * (1 - p) ** gaps
    cost = [float((chance * ((gaps >> k) + 1 + k)).sum()) for k in range(25)]
    k = _rice_kernels.parameter(round(p * 1e7), 10**7)
    assert cost[k] <= min(cost) * 1.002
    assert cost[k] * p <= 1.035 * -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


@given(rows=st.lists(st.tuples(st.integers(0, 2**61), st.integers(0, 9), st.just(0)), max_size=30))
def test_tables_of_numbers(rows) -> None:
    table = np.array(rows, np.int64).reshape(-1, 3)
    out = np.empty(20 * table.size + 16, np.uint8)
    size = _range_kernels.put_table(table, out)
    back = np.empty_like(table)
    assert _range_kernels.get_table(out[:size], back)
    np.testing.assert_array_equal(back, table)


@pytest.mark.parametrize("p", [0.001, 0.03, 0.5, 0.9])
def test_the_range_coder_comes_near_the_entropy_of_bits(p) -> None:
    bits = (np.random.default_rng(1).random(20_000) < p).astype(np.int64)
    model, out = _range_kernels.new_model(1), np.empty(60_000, np.uint8)
    low, high, at = 0, 2**32 - 1, 0
    for bit in bits:
        low, high, at = _range_kernels.put_bit(low, high, at, out, model, 0, bit)
    size = _range_kernels.finish(low, high, at, out)
    q = bits.mean()
    assert 8 * size < 1.05 * len(bits) * -(q * np.log2(q) + (1 - q) * np.log2(1 - q)) + 64
    data, model = out[:size], _range_kernels.new_model(1)
    low, high, code, at = _range_kernels.start(data)
    for bit in bits:
        back, low, high, code, at = _range_kernels.get_bit(low, high, code, at, data, model, 0)
        assert back == bit


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), classes=st.integers(1, maps.MOST), seed=st.integers(0, 99))
def test_maps(rows, columns, classes, seed) -> None:
    cells = np.random.default_rng(seed).integers(0, classes, (rows, columns)).astype(np.uint8)
    data = np.frombuffer(maps.encode_map(cells), np.uint8)
    np.testing.assert_array_equal(
        maps.decode_map(data, maps.MOST, 3, (3 * rows - 2, 3 * columns)), np.kron(cells, np.ones((3, 3), np.uint8))[:-2]
    )
    if cells.max() > 1:
        with pytest.raises(FormatError):
            maps.decode_map(data, int(cells.max()), 1, (rows, columns))
    rank, size = np.empty(cells.size, np.uint32), np.empty(classes, np.int64)
    _map_kernels.rank_pixels(cells.ravel(), rank, size)
    np.testing.assert_array_equal(size, np.bincount(cells.ravel(), minlength=classes))
    for c in range(classes):
        np.testing.assert_array_equal(rank[cells.ravel() == c], np.arange(size[c]))


def test_finding_and_sorting_entries(rng) -> None:
    dense = rng.poisson(0.2, (30, 37)).astype(np.uint16)
    sparse = SparseSI.from_dense(dense[None])
    offset, channel, count = np.empty(31, np.int64), np.empty_like(sparse.channel), np.empty_like(sparse.count)
    _entry_kernels.find_counts(dense, offset, channel, count)
    np.testing.assert_array_equal(offset, sparse.offset)
    np.testing.assert_array_equal(channel, sparse.channel)
    np.testing.assert_array_equal(count, sparse.count)
    hits = np.zeros(37, np.int64)
    _entry_kernels.channel_hits(channel, hits)
    np.testing.assert_array_equal(hits, (dense > 0).sum(axis=0))

    classes, bright = rng.integers(0, 2, 30).astype(np.uint8), hits > hits.mean()
    rank = np.where(classes, np.cumsum(classes) - 1, np.cumsum(1 - classes) - 1).astype(np.uint32)
    first, pixel, value = np.zeros((3, 38), np.int64), np.empty(len(count), np.uint32), np.empty(len(count), np.uint32)
    _entry_kernels.by_channel(offset, channel, count.astype(np.uint32), classes, rank, bright, first, pixel, value)
    for q, c in itertools.product(range(3), range(37)):
        rows = np.arange(30) if q == 2 else np.flatnonzero(classes == q)
        column = dense[rows, c] if bright[c] == (q == 2) else np.zeros(0, np.uint16)
        part = slice(first[q, c], first[q, c + 1])
        np.testing.assert_array_equal(pixel[part], np.flatnonzero(column))
        np.testing.assert_array_equal(value[part], column[column > 0])
    order = [np.flatnonzero(classes == 0), np.flatnonzero(classes == 1), np.arange(30)]
    ends = [first[0, 0], first[1, 0], first[2, 0], len(pixel)]
    real = np.concatenate([order[q][pixel[ends[q] : ends[q + 1]]] for q in range(3)]).astype(np.uint32)
    back = np.empty(31, np.int64), np.empty(len(count), np.uint32), np.empty(len(count), np.uint32)
    _entry_kernels.by_pixel(np.diff(first), real, value, *back)
    for made, known in zip(back, (offset, channel, count), strict=True):
        np.testing.assert_array_equal(made, known)

    cell, band = rng.integers(0, 4, 30).astype(np.uint32), rng.integers(0, 5, 37).astype(np.uint8)
    counts = np.zeros((4, 5), np.float32)
    _entry_kernels.bin_bands(offset, channel, cell, band, counts)
    expected = np.zeros((4, 5))
    np.add.at(expected, (cell[:, None], band[None]), dense > 0)
    np.testing.assert_array_equal(counts, expected)


def test_the_nearest_class_is_the_most_likely_one(rng) -> None:
    rates, area = rng.random((3, 6)) + 0.1, np.array([4.0, 2.0, 4.0, 1.0, 4.0])
    counts = rng.poisson(3, (5, 6)).astype(np.float32)
    labels, sums, areas = np.zeros(5, np.int64), np.zeros((3, 6)), np.zeros(3)
    _entry_kernels.nearest_class(counts, area, rates, labels)
    np.testing.assert_array_equal(
        labels, np.argmax(counts @ np.log(rates).T - area[:, None] * rates.sum(axis=1), axis=1)
    )
    _entry_kernels.add_classes(counts, area, labels, sums, areas)
    np.testing.assert_allclose(sums, np.stack([counts[labels == k].sum(axis=0) for k in range(3)]))
    np.testing.assert_array_equal(areas, np.bincount(labels, weights=area, minlength=3))


def test_segments_are_the_cheapest_ones(rng) -> None:
    hits = rng.integers(0, 9, 7) * np.array([1, 1, 1, 9, 9, 1, 1])
    pixels, extra = 100, 12.0

    def bits(a: int, b: int) -> float:
        p = hits[a:b].sum() / ((b - a) * pixels)
        return extra + ((b - a) * pixels * -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) if 0 < p < 1 else 0)

    def cost(cuts) -> float:
        edges = [0, *cuts, 7]
        return sum(bits(a, b) for a, b in itertools.pairwise(edges))

    every = [c for n in range(7) for c in itertools.combinations(range(1, 7), n)]
    length = np.zeros(7, np.int64)
    n = _entry_kernels.segment_channels(hits, pixels, extra, 64, 1e9, length)
    assert length[:n].sum() == 7
    assert cost(np.cumsum(length[: n - 1]).tolist()) == pytest.approx(min(map(cost, every)))


def test_the_local_rate_sees_what_was_decoded_before() -> None:
    weights = {(0, -1): 3, (-1, 0): 3, (0, -2): 2, (-1, -1): 2, (-1, 1): 2, (-2, 0): 2}
    weights |= {(-1, -2): 1, (-1, 2): 1, (-2, -1): 1, (-2, 1): 1}
    rng = np.random.default_rng(3)
    for row in range(3):
        lines = np.zeros((3, 9 + 4), np.int64)
        lines[:, 2:-2] = rng.poisson(0.7, (3, 9))
        for x in range(9):
            s = sum(w * lines[(row + dy) % 3, x + 2 + dx] for (dy, dx), w in weights.items())
            assert _place_kernels.local_level(lines, row, x) == np.searchsorted(_place_kernels._EDGES, s, side="right")


def test_pixel_sums_and_classes(rng) -> None:
    pixel = rng.integers(0, 64, 500).astype(np.uint32)
    sums = np.zeros(64, np.int64)
    _binary_kernels.pixel_sums(pixel, sums)
    np.testing.assert_array_equal(sums, np.bincount(pixel, minlength=64))
    total, cells = np.array([100, 50, 52, 1, 0, 99]), np.empty(6, np.uint8)
    assert _binary_kernels.classify(total, np.full(6, 100), 1, cells) == 4
    assert cells.tolist() == [0, 1, 0, 2, 3, 0]


@given(values=st.lists(st.integers(0, 2**61), max_size=20))
def test_varints(values) -> None:
    out = np.zeros(10 * len(values) + 1, np.uint8)
    at = 0
    for value in values:
        at = _varint_kernels.put_varint(out, at, value)
    twin = b"".join(
        bytes(
            [value >> 7 * i & 127 | 128 * (value >> 7 * i + 7 > 0) for i in range(max(1, -(-value.bit_length() // 7)))]
        )
        for value in values
    )
    assert out[:at].tobytes() == twin
    data, at = out[:at].copy(), 0
    for value in values:
        back, at = _varint_kernels.get_varint(data, at)
        assert back == value
    assert _varint_kernels.get_varint(data, at)[0] == -1


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300, 70_000])
def test_zstd_knows_its_size(size) -> None:
    values = np.random.default_rng(1).integers(0, 3, size).astype(np.uint8)
    packed = zstd.compress(values)
    np.testing.assert_array_equal(zstd.decompress(packed, size), values)
    for wrong in (size + 1, abs(size - 1)):
        with pytest.raises(FormatError, match="do not hold"):
            zstd.decompress(packed, wrong)
    with pytest.raises(FormatError, match="damaged"):
        zstd.decompress(packed[:5], size)
