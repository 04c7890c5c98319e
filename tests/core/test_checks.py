"""What is said at the door when an argument is wrong, and that right ones pass unchanged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esteemcore._core import checks
from esteemcore.errors import ParameterError


@pytest.mark.parametrize("good", [(3, 4), [3, 4], np.array([3, 4]), (np.uint8(3), np.int64(4))])
def test_shapes_that_pass(good) -> None:
    shape = checks.shape_2d("scan_shape", good)
    assert shape == (3, 4)
    assert all(type(n) is int for n in shape)


@pytest.mark.parametrize("bad", [5, (3,), (3, 4, 5), (0, 4), (3, -1), (3.0, 4), "ab", None, ()])
def test_shapes_that_do_not(bad) -> None:
    with pytest.raises(ParameterError, match=r"scan_shape is .*integers"):
        checks.shape_2d("scan_shape", bad)


def test_integers() -> None:
    assert checks.integer("size", np.int16(7), minimum=7, maximum=7) == 7
    with pytest.raises(ParameterError, match=r"size is 7\.0; expected an integer"):
        checks.integer("size", 7.0)
    with pytest.raises(ParameterError, match="size is 0; expected an integer >= 1 and <= 9"):
        checks.integer("size", 0, minimum=1, maximum=9)
    with pytest.raises(ParameterError, match="size is 10"):
        checks.integer("size", 10, maximum=9)


def test_numbers_with_units() -> None:
    assert checks.finite("C30", np.float32(1.5)) == 1.5
    assert checks.not_negative("dwell", 0) == 0.0
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ParameterError, match="expected a finite number in nm"):
            checks.finite("C30", bad, "nm")
    with pytest.raises(ParameterError, match="C30 is 'much'; expected a number in nm"):
        checks.finite("C30", "much", "nm")
    with pytest.raises(ParameterError, match="energy is 0 keV; expected more than zero"):
        checks.positive("energy", 0, "keV")
    with pytest.raises(ParameterError, match="dwell is -1 s; expected zero or more"):
        checks.not_negative("dwell", -1, "s")


def test_words() -> None:
    assert checks.choice("method", "cls", ("cls", "l1")) == "cls"
    with pytest.raises(ParameterError, match="method is 'best'; expected one of 'cls', 'l1'"):
        checks.choice("method", "best", ("cls", "l1"))


def test_flat_positions() -> None:
    got = checks.flat_indices("order", np.array([[5, 0], [3, 3]], np.uint8)[:, 0], 6)
    assert got.dtype == np.int64
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, [5, 3])
    assert checks.flat_indices("order", [], 0).shape == (0,)
    with pytest.raises(ParameterError, match="order holds positions 0 to 6, but the scan has positions 0 to 5"):
        checks.flat_indices("order", [6, 0], 6)
    with pytest.raises(ParameterError, match="order holds positions -1 to 2"):
        checks.flat_indices("order", [-1, 2], 6)
    with pytest.raises(ParameterError, match="order holds positions"):
        checks.flat_indices("order", np.array([2**64 - 1], np.uint64), 6)  # would be -1 as int64
    for bad in ([0.0, 1.0], [[0, 1]], 3, [True, False]):
        with pytest.raises(ParameterError, match="expected a flat list of integer positions"):
            checks.flat_indices("order", bad, 6)


def test_masks() -> None:
    for good in (np.eye(2, dtype=bool), np.eye(2), np.eye(2, dtype=np.uint8)):
        got = checks.boolean_mask("mask", good, (2, 2))
        assert got.dtype == np.bool_
        np.testing.assert_array_equal(got, [[True, False], [False, True]])
    with pytest.raises(ParameterError, match=r"mask has shape \(2, 2\); expected \(2, 3\)"):
        checks.boolean_mask("mask", np.eye(2), (2, 3))
    for bad in (2 * np.eye(2), np.full((2, 2), np.nan), np.full((2, 2), "x")):
        with pytest.raises(ParameterError, match="values other than 0 and 1"):
            checks.boolean_mask("mask", bad, (2, 2))
