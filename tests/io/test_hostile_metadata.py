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

from esteemcore import io, stream
from esteemcore.errors import EsteemError, FormatError

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


def claim(path, rows, block):
    """Let an array say that it has so many rows, in blocks of so many."""
    file = path / "zarr.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["shape"][0] = rows
    content["chunk_grid"]["configuration"]["chunk_shape"][0] = block
    for axis in content["attributes"].get("esteem", {}).get("axes", [])[:1]:
        axis["size"] = rows
    file.write_text(json.dumps(content), encoding="utf-8")


ARRAYS = ("signals/frames", "scan/index", "scan/visit", "scan/time_s")


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "a.esteem"
    with io.Writer(path, stream.Spec((5, 10), (4, 8), np.uint8, packed=True), block=5) as writer:
        writer.append(stream.Chunk(np.arange(50), np.zeros((50, 4, 1), np.uint8), time_s=np.arange(50.0)))
    return path


@pytest.mark.parametrize("rows", [2**25, 2**40, 2**55])
@pytest.mark.parametrize("block", [1, 16])
def test_rows_without_files_ask_for_no_memory(recorded, rows, block):
    """All arrays agree on frames that nobody wrote, as no single damage does."""
    for array in ARRAYS:
        claim(recorded / array, rows, block)
    with pytest.raises(FormatError, match=f"it has {rows:,} rows, but only 11 files"):
        io.load(recorded)


def test_a_scan_whose_files_are_lost_is_told_in_few_words(recorded):
    for array in ARRAYS:
        claim(recorded / array, 6000, 5)
    (recorded / "scan/index/c.7").unlink()
    found = io.load(recorded)
    index = np.full(6000, -1)
    index[:50] = np.arange(50)
    index[35:40] = -1
    np.testing.assert_array_equal(found.scan.index, index)
    np.testing.assert_array_equal(found.scan.time_s, np.append(np.arange(50.0), np.full(5950, np.nan)))
    assert len(found.notes) == 1001
    assert "1,191 of its files are missing" in found.notes[-1]
    assert found.signals["frames"].data[:50].shape == (50, 4, 1)
