"""A sparse spectrum image is the dense one, without its zeros."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI

dense = hnp.arrays(
    hnp.integer_dtypes(endianness="?") | hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.array_shapes(min_dims=3, max_dims=5, min_side=0, max_side=5),
    fill=st.just(0),
)


@given(array=dense)
def test_nothing_is_lost(array) -> None:
    sparse = SparseSI.from_dense(array)
    assert sparse.shape == array.shape
    assert sparse.dtype == array.dtype
    back = sparse.to_dense()
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(array=dense)
def test_only_what_is_not_zero_is_kept(array) -> None:
    sparse = SparseSI.from_dense(array)
    rows = array.reshape(-1, array.shape[-1]) if array.size else np.empty((len(sparse.offset) - 1, 0))
    np.testing.assert_array_equal(sparse.offset, np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))]))
    np.testing.assert_array_equal(sparse.channel, np.nonzero(rows)[1])
    np.testing.assert_array_equal(sparse.count, rows[rows != 0])
    assert (sparse.offset.dtype, sparse.channel.dtype) == (np.int64, np.uint32)


def test_a_series_keeps_its_frames_apart(rng) -> None:
    series = rng.poisson(0.05, (3, 4, 5, 64)).astype(np.uint16)
    sparse = SparseSI.from_dense(np.asfortranarray(series))
    np.testing.assert_array_equal(sparse.to_dense()[1], SparseSI.from_dense(series[1]).to_dense())
    assert sparse.count.sum() == series.sum()
    assert sparse.count.size == np.count_nonzero(series)


@pytest.mark.parametrize("bad", [np.zeros((2, 3, 4)), np.zeros((3, 4), int), np.zeros((2, 3, 4), bool)])
def test_what_is_no_counted_spectrum_image_is_refused_in_words(bad) -> None:
    with pytest.raises(ParameterError, match=r"expected integer counts \(\.\.\., y, x, energy\)"):
        SparseSI.from_dense(bad)


GOOD = {"shape": (1, 2, 4), "dtype": np.uint8, "offset": [0, 2, 3], "channel": [0, 3, 1], "count": [1, 2, 255]}


def test_one_made_by_hand() -> None:
    np.testing.assert_array_equal(SparseSI(**GOOD).to_dense(), [[[1, 0, 0, 2], [0, 255, 0, 0]]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (2, 4)}, r"expected integers \(\.\.\., y, x, energy\)"),
        ({"shape": (1, 2, -4)}, "expected integers"),
        ({"shape": (1, 2, 4.5)}, "expected integers"),
        ({"dtype": np.float32}, "expected integers"),
        ({"dtype": "counts"}, "expected integers"),
        ({"shape": (2, 2, 4)}, r"needs 5 offsets .* number of entries \(3\)"),
        ({"offset": [0, 3]}, "needs 3 offsets"),
        ({"offset": [1, 2, 3]}, "needs 3 offsets"),
        ({"offset": [0, 2, 2]}, "needs 3 offsets"),
        ({"offset": [0, 4, 3]}, "offset holds 0 to 4; expected 0 to 3"),
        ({"offset": [0.0, 2.5, 3.0]}, "offset has .*float64; expected a flat list of integers"),
        ({"channel": [0, 4, 1]}, "channel holds 0 to 4; expected 0 to 3"),
        ({"channel": [0, -1, 1]}, "channel holds -1 to 1"),
        ({"channel": [0.0, 3.0, 1.0]}, "channel has .*float64"),
        ({"channel": [3, 0, 1]}, "channels of a pixel must rise"),
        ({"channel": [3, 3, 1]}, "channels of a pixel must rise"),
        ({"count": [1, 2, 256]}, "count holds 1 to 256; expected 0 to 255"),
        ({"count": [1, -2, 3]}, "count holds -2 to 3"),
        ({"count": [1, 0, 3]}, "none of them zero"),
        ({"count": [1, 2]}, "3 channels need as many counts"),
    ],
)
def test_impossible_ones_are_refused_in_words(change, message) -> None:
    with pytest.raises(ParameterError, match=message):
        SparseSI(**(GOOD | change))
