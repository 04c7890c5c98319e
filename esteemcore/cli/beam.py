"""The direct beam as it is typed, its radius as it is measured, and errors of the core in words of a shell."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from esteemcore import diffraction
from esteemcore.diffraction.hidden_beam import SYMMETRY
from esteemcore.errors import CalibrationError, ParameterError

FIND_WORDS = (SYMMETRY, "find", "find it")
"""What may be typed to have the place of the beam found."""

MOST_OF_DETECTOR = 1 / 6
"""Radius of a disk from which on there is no room for others, in sides of the detector."""

_IN_A_SHELL = (
    ("center=(row, column), or center='friedel'", "--center ROW COLUMN, or --center friedel"),
    ("center=(row, column)", "--center ROW COLUMN"),
    ("center reaches", "--center reaches"),
    ("radius_px", "--radius-px"),
    ("n_classes", "--classes"),
    ("binning is", "--binning is"),
    ("seed is", "--seed is"),
)
"""Arguments as errors and notes of the core name them, and the options that stand for them."""


class BeamAction(argparse.Action):
    """Take ``ROW COLUMN``, ``ROW,COLUMN`` or a word, as `place_of` reads them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep what was typed as one string; what follows it can only be arguments at the wrong place."""
        parts = [str(part) for part in values or ()]
        n = 1 if parts[0].strip().casefold() in FIND_WORDS or len(_split(parts[0])) > 1 else 2
        if parts[n:]:
            parser.error(
                f"{option_string} {' '.join(parts[:n])} takes nothing more; put {' '.join(parts[n:])} before it"
            )
        setattr(namespace, self.dest, " ".join(parts))


def place_of(words: str) -> tuple[float, float] | str | None:
    """Return the place (row, column) in px that was typed, `SYMMETRY` if it is to be found, None if nothing was.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if " ".join(words.split()).casefold() in FIND_WORDS:
        return SYMMETRY
    parts = _split(words)
    if not parts:
        return None
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 2 or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ParameterError(
            f"{words!r} is not a place on the detector; expected row and column in px, not negative, as in 63.5 64, "
            "or: find"
        )
    return numbers[0], numbers[1]


def measured_radius(
    data4d: Any,
    advice: str,
    *,
    mask: NDArray[Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[float, tuple[str, ...]]:
    """Return the radius of the direct beam in px, and what is doubtful in it.

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Whole counts, as for `esteemcore.diffraction.find_descan`.
    advice : str
        What to do where it cannot be that of a disk.
    mask : array of bool, shape (ky, kx), optional
        True where a pixel is good.
    progress : callable, optional
        Called with the fraction done, 0 to 1.

    Raises
    ------
    ParameterError
        If no other disk has room beside it.
    """
    beam = diffraction.find_descan(data4d, mask=mask, everywhere=False, progress=progress)
    if beam.radius_px > min(data4d.shape[2:]) * MOST_OF_DETECTOR:
        raise ParameterError(
            f"the direct beam seems to have a radius of {beam.radius_px:.3g} px, too large for {data4d.shape[2]} x "
            f"{data4d.shape[3]} pixels with other disks beside it; {advice}"
        )
    return beam.radius_px, beam.notes


def in_a_shell(text: str) -> str:
    """Return an error or note of the core with the options of the shell in the place of arguments."""
    for argument, option in _IN_A_SHELL:
        text = text.replace(argument, option)
    return text


@contextlib.contextmanager
def shell_words() -> Iterator[None]:
    """Let errors of the core about arguments name the options of the shell."""
    try:
        yield
    except (ParameterError, CalibrationError) as error:
        raise type(error)(in_a_shell(str(error))) from error


def _split(words: str) -> list[str]:
    return words.replace(",", " ").split()
