"""Checks at the public door; each error says what was given, what was expected and what to do."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core.errors import ParameterError


def shape_2d(name: str, value: Sequence[int]) -> tuple[int, int]:
    """Return ``value`` as a pair of positive integers ``(rows, columns)``."""
    try:
        shape = tuple(operator.index(n) for n in value)
    except TypeError:
        raise ParameterError(f"{name} is {value!r}; expected two integers (rows, columns)") from None
    if len(shape) != 2 or min(shape) < 1:
        raise ParameterError(f"{name} is {value!r}; expected two positive integers (rows, columns)")
    return shape[0], shape[1]


def integer(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return ``value`` as an int within ``[minimum, maximum]``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ParameterError(f"{name} is {value!r}; expected an integer") from None
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = [f"{sign} {bound}" for sign, bound in ((">=", minimum), ("<=", maximum)) if bound is not None]
        raise ParameterError(f"{name} is {number}; expected an integer {' and '.join(bounds)}")
    return number


def finite(name: str, value: Any, unit: str = "") -> float:
    """Return ``value`` as a finite float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} is {value!r}; expected a number{unit and f' in {unit}'}") from None
    if not math.isfinite(number):
        raise ParameterError(f"{name} is {number}; expected a finite number{unit and f' in {unit}'}")
    return number


def positive(name: str, value: Any, unit: str = "") -> float:
    """Return ``value`` as a finite float above zero."""
    number = finite(name, value, unit)
    if number <= 0:
        raise ParameterError(f"{name} is {number:g}{unit and f' {unit}'}; expected more than zero")
    return number


def not_negative(name: str, value: Any, unit: str = "") -> float:
    """Return ``value`` as a finite float, zero or more."""
    number = finite(name, value, unit)
    if number < 0:
        raise ParameterError(f"{name} is {number:g}{unit and f' {unit}'}; expected zero or more")
    return number


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of the allowed words."""
    if value not in allowed:
        raise ParameterError(f"{name} is {value!r}; expected one of {', '.join(repr(a) for a in allowed)}")
    return str(value)


def array(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return ``value`` as an array; lists of lists must have rows of equal length."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ParameterError(f"{name} is no array: its rows have unequal lengths") from None


def flat_indices(name: str, value: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return ``value`` as int64 flat positions, each within ``[0, n)``; repeats are allowed."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ParameterError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; expected a flat list of integer positions"
        )
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= n:
            raise ParameterError(f"{name} holds positions {low} to {high}, but the scan has positions 0 to {n - 1}")
    return np.ascontiguousarray(array, dtype=np.int64)


def boolean_mask(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return ``value`` as a boolean array of the given shape (0 and 1 of any dtype are accepted)."""
    array = np.asarray(value)
    if array.shape != shape:
        raise ParameterError(f"{name} has shape {array.shape}; expected {shape}")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise ParameterError(f"{name} has dtype {array.dtype} and values other than 0 and 1; expected booleans")
        array = array.astype(np.bool_)
    return np.ascontiguousarray(array)
