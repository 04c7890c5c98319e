"""Whatever the metadata of a container say, opening it ends well or in one line of words."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esteemcore import io
from esteemcore.errors import EsteemError

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("series_v2.esteem", "codecs_v2.esteem", "frames_v1.esteem", "image_v1.esteem")
VALUES = [None, True, -1, 0, 1, 3, 10**6, 10**18, 1.5, "", "x", "nan", "../x", "uint8", "esteem.events", [], [1], [[1]]]
VALUES += [[None], {}, {"a": 1}]


def places(value, here=()):
    """Yield the keys that lead to every entry."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*here, key)
        yield from places(entry, (*here, key))


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name in NAMES:
        shutil.copytree(GOLDEN / name, folder / name)
    return folder


def read_all(path):
    for signal in io.load(path).signals.values():
        if signal.kind == "events":
            list(signal.data.frames())
        else:
            np.asarray(signal.data)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_metadata(containers, data):
    path = containers / data.draw(st.sampled_from(NAMES))
    file = data.draw(st.sampled_from(sorted(path.rglob("zarr.json"))))
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    *way, last = data.draw(st.sampled_from(list(places(content))))
    place = content
    for key in way:
        place = place[key]
    if isinstance(place, dict) and data.draw(st.booleans()):
        del place[last]
    else:
        place[last] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        for call in (io.info, io.load, io.verify, read_all):
            try:
                call(path)
            except EsteemError as error:
                message = str(error)
            else:
                message = "fine"
            assert message
            assert "\n" not in message
    finally:
        file.write_text(text, encoding="utf-8")
