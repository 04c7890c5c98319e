"""Element maps from what a user types."""

from __future__ import annotations

import pytest

from esteemcore import multiframe
from esteemcore.errors import ParameterError


def test_windows_and_models_follow_what_was_typed() -> None:
    plain, edge, line = multiframe.maps_from_words(" C:280-320  Ti:455-475:380-450\nNi:7.3e3-7650:7000-7250+7700-7950 ")
    assert plain == multiframe.ElementMap("C", (280, 320))
    assert edge == multiframe.ElementMap("Ti", (455, 475), (380, 450))
    assert line == multiframe.ElementMap("Ni", (7300, 7650), ((7000, 7250), (7700, 7950)), "linear")
    assert multiframe.maps_from_words("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ti", "NAME:START-STOP"),
        ("Ti:455", "no window"),
        ("Ti:475-455", "stop above the start"),
        ("Ti:455-475:a-b", "no window"),
        ("Ti:4.5.5-475", "'4.5.5-475' in 'Ti:4.5.5-475' is no window"),
        ("Ti:.-475", "no window"),
        ("Ti:1-2:3-4:5-6", "no map"),
        ("T/i:455-475", "name of a map"),
    ],
)
def test_what_is_no_map_is_refused_in_words(text, message) -> None:
    with pytest.raises(ParameterError, match=message):
        multiframe.maps_from_words(text)
