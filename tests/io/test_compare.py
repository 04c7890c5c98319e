"""Comparison of a copy with its original: every value, exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteemcore import io
from esteemcore.events import SparseSI
from esteemcore.io.compare import compare, distance, same_numbers

NAN, INF = float("nan"), float("inf")


def compared(a, b):
    axes = tuple(io.Axis(name, size) for name, size in zip("abc", np.shape(a), strict=False))
    return compare(io.Signal(np.asarray(a), axes), io.Signal(np.asarray(b), axes), "x", lambda n: None)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_whole_numbers_are_compared_exactly(dtype):
    a = np.array([2**53, 2**53 + 1, 2**62, 5], dtype)
    b = np.array([2**53 + 1, 2**53 + 1, 2**62 - 1, 5], dtype)
    found = compared(a, b)
    assert (found.different, found.largest) == (2, 1.0)
    assert found.rms == pytest.approx(math.sqrt(0.5))
    assert compared(a, a.copy()).different == 0


def test_numbers_of_several_dtypes():
    top = np.array([2**64 - 1, 2**63], np.uint64)
    found = compared(top, np.array([-1, -(2**63)], np.int64))
    assert (found.different, found.largest) == (2, 2.0**64)
    assert compared(np.array([2**53 + 1]), np.array([2.0**53])).different == 1
    assert compared(np.array([2**63 - 1]), np.array([2.0**63])).different == 1
    assert compared(np.array([2**64 - 1], np.uint64), np.array([2.0**64])).different == 1
    assert compared(np.array([3, -4]), np.array([3.0, -4.0], np.float32)).different == 0
    assert compared(np.array([1, 0]), np.array([True, False])).different == 0
    assert compared(np.array([1, 0]), np.array([1.5, NAN])).different == 2


def test_nan_equals_nan_and_nothing_else():
    found = compared([NAN, NAN, 1.0, INF, -INF], [NAN, 1.0, NAN, INF, INF])
    assert found.different == 3
    assert found.largest == INF
    assert compared([NAN, INF], [NAN, INF]).largest == 0
    assert compared(np.array([complex(NAN, 1), complex(1, NAN)]), np.array([complex(NAN, 1), complex(1, NAN)])).rms == 0
    assert compared(np.array([complex(1, NAN)]), np.array([complex(NAN, 1)])).different == 1
    assert compared(np.array([complex(1, NAN)]), np.array([complex(2, NAN)])).different == 1


def test_zeros_of_both_signs_are_the_same_number():
    assert compared([0.0, -0.0], [-0.0, 0.0]).different == 0


def test_events_and_dense_copies():
    counts = np.zeros((2, 3, 4), np.uint32)
    counts[1, 2, 3] = 2**32 - 1
    other = counts.copy()
    other[0, 0, 0] = 1
    axes = tuple(io.Axis(name, size) for name, size in zip(("y", "x", "energy"), counts.shape, strict=True))
    events, more = (io.Signal(SparseSI.from_dense(c), axes, "events") for c in (counts, other))
    for a, b in ((events, more), (io.Signal(counts, axes), more), (events, io.Signal(other, axes))):
        found = compare(a, b, "eds", lambda n: None)
        assert (found.different, found.largest, found.values) == (1, 1.0, 24)
    assert compare(events, io.Signal(counts, axes), "eds", lambda n: None).different == 0


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_exactness_against_python(a, b, c):
    signed, unsigned, real = np.array([a]), np.array([b], np.uint64), np.array([c])
    assert same_numbers(signed, unsigned)[0] == (a == b)
    assert same_numbers(signed, real)[0] == (a == c)
    assert same_numbers(real, unsigned)[0] == (b == c)
    assert distance(signed, unsigned)[0] == pytest.approx(float(abs(a - b)), rel=1e-15)
