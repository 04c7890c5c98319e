"""Between numbers and what a user types: nothing is guessed, and a comma is as good as a point."""

from __future__ import annotations

import math

from nion.utils import Converter


class NumberConverter(Converter.ConverterLike[float, str]):
    """A number as text; text that is no finite number is None, and None is no text.

    Examples
    --------
    >>> NumberConverter().convert_back("3,5")
    3.5
    """

    def convert(self, value: float | None) -> str | None:
        """Return a number as people write it."""
        return "" if value is None else f"{value:g}"

    def convert_back(self, formatted_value: str | None) -> float | None:
        """Return what was typed."""
        return _number(formatted_value)


class WholeConverter(Converter.ConverterLike[int, str]):
    """A whole number as text; text that is none is None, and None is no text.

    Examples
    --------
    >>> WholeConverter().convert_back("1e3"), WholeConverter().convert_back("5-6")
    (1000, None)
    """

    def convert(self, value: int | None) -> str | None:
        """Return a number in all its digits."""
        return "" if value is None else str(int(value))

    def convert_back(self, formatted_value: str | None) -> int | None:
        """Return what was typed."""
        number = _number(formatted_value)
        return int(number) if number is not None and number == int(number) and abs(number) < 2**53 else None


def _number(text: str | None) -> float | None:
    try:
        number = float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
