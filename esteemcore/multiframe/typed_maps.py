"""Element maps as a user types them."""

from __future__ import annotations

import re

from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.maps import ElementMap

_MAP = re.compile(r"([^:\s]+):([^:\s]+)(?::([^:\s]+))?")
_NUMBER = r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e\+?[0-9]+)?)"
_WINDOW = re.compile(f"{_NUMBER}-{_NUMBER}")


def maps_from_words(text: str) -> tuple[ElementMap, ...]:
    """Return element maps as a user types them: ``NAME:START-STOP[:BACKGROUND]``, several with spaces between.

    A background is a window before an edge (a power law is fitted) or two windows, joined by ``+``, on both sides of a
    line (a straight one). Energies are in eV.

    Raises
    ------
    ParameterError
        With what was typed and what is expected.

    Examples
    --------
    >>> found = maps_from_words("Ti:455-475:380-450 Ni:7300-7650:7000-7250+7700-7950")
    >>> [(element.name, element.model) for element in found]
    [('Ti', 'power_law'), ('Ni', 'linear')]
    """
    return tuple(_map_from_word(word) for word in text.split())


def _map_from_word(word: str) -> ElementMap:
    match = _MAP.fullmatch(word)
    if match is None:
        raise ParameterError(f"{word!r} is no map; expected NAME:START-STOP or NAME:START-STOP:BACKGROUND, in eV")
    name, window, behind = match.groups()
    windows = [_window(word, part) for part in behind.split("+")] if behind else []
    if not windows:
        return ElementMap(name, _window(word, window))
    if len(windows) == 1:
        return ElementMap(name, _window(word, window), windows[0])
    return ElementMap(name, _window(word, window), tuple(windows), "linear")


def _window(word: str, part: str) -> tuple[float, float]:
    match = _WINDOW.fullmatch(part)
    if match is None:
        raise ParameterError(f"{part!r} in {word!r} is no window; expected START-STOP in eV, as in 455-475")
    return float(match[1]), float(match[2])
