"""Bragg disks in Nion Swift: map, numbers and table of the core as linked data items, and as a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.data import Calibration, DataAndMetadata
from process_frames import RADIUS, grains, xdata
from process_swift import Swift

from esteemcore import diffraction
from esteemcore.diffraction.disks import Disks
from nionswift_plugin.esteem_process import disk_items
from nionswift_plugin.esteem_process.commands import bragg_disks as command
from nionswift_plugin.esteem_process.commands import save_disks
from nionswift_plugin.esteem_process.computations import bragg_disks
from nionswift_plugin.esteem_scan import binding

SCAN = (6, 6)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return grains()[:6, :6]


@pytest.fixture(scope="module")
def expected(frames: np.ndarray) -> diffraction.DiskTable:
    return diffraction.find_disks(frames, RADIUS)


def test_the_table_is_that_of_the_core(app: Swift, frames: np.ndarray, expected: diffraction.DiskTable) -> None:
    computation, made = bragg_disks.make(app.model, app.add(xdata(frames), "Grains"), radius=RADIUS)
    app.model.recompute_all()
    assert computation.error_text is None
    table = disk_items.from_xdata(made["table"].xdata)
    for name in disk_items.ROWS:
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name))
    np.testing.assert_array_equal(made["number"].data, expected.per_position(SCAN))
    assert made["number"].dimensional_calibrations[1] == Calibration.Calibration(0, 2.0, "nm")
    assert made["map"].title == "Bragg Vectors of Grains [disks of 3 px = 1.5 mrad]"
    assert made["table"].title == f"Disk Table of Grains [{len(expected)} disks]"
    known = made["map"].metadata[binding.KEY]["disks"]
    assert (known["radius_px"], known["provenance"]["function"]) == (RADIUS, expected.provenance.function)


def test_the_direct_beam_is_the_origin_of_the_map(
    app: Swift, frames: np.ndarray, expected: diffraction.DiskTable
) -> None:
    _, made = bragg_disks.make(app.model, app.add(xdata(frames)), radius=RADIUS)
    app.model.recompute_all()
    vectors, axes = made["map"].data, made["map"].dimensional_calibrations
    assert vectors.shape == (96, 96)
    coordinates = [axis.offset + axis.scale * np.arange(96) for axis in axes]
    rows, columns = (np.abs(each) < 0.3 for each in coordinates)  # mrad: the four bins round the beam
    assert vectors[np.ix_(rows, columns)].sum() == pytest.approx(len(frames) ** 2, abs=1e-6)
    beam = expected.brightest(36)
    away = np.stack([expected.y, expected.x], axis=1) - beam[expected.frame]
    inside = (np.abs(away) < 23).all(axis=1)
    centre = [(vectors.sum(axis=1 - axis) @ coordinates[axis]) for axis in (0, 1)]
    np.testing.assert_allclose(centre, 0.5 * away[inside].sum(axis=0), atol=0.02 * len(expected))
    assert {axis.units for axis in axes} == {"mrad"}


def test_typed_numbers_reach_the_search(app: Swift, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    find = diffraction.find_disks

    def noting(data: Any, radius: float, **chosen: Any) -> Any:
        given.update(chosen, radius=radius)
        return find(data, radius, **chosen)

    monkeypatch.setattr(diffraction, "find_disks", noting)
    good = np.ones((48, 48), np.float32)
    good[3, 4], good[5, 6] = 0, np.nan
    mask = app.add(DataAndMetadata.new_data_and_metadata(good))
    chosen = {"significance": 6.0, "ellipse": "1.05, 30", "center": "23.5 24"}
    computation, _ = bragg_disks.make(app.model, app.add(xdata(frames)), mask=mask, **chosen)
    app.model.recompute_all()
    assert computation.error_text is None
    assert given["radius"] == pytest.approx(RADIUS, abs=0.5)
    assert (given["significance"], given["center"]) == (6.0, (23.5, 24.0))
    assert (~given["mask"]).sum() == 2
    long = np.array([np.sin(np.pi / 6), np.cos(np.pi / 6)])  # (row, column)
    np.testing.assert_allclose(given["distortion"] @ long, long * np.sqrt(1.05))
    assert np.linalg.det(given["distortion"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"ellipse": "1.05"}, "long over short axis, and the angle in degrees"),
        ({"ellipse": "0.9 0"}, "long over short axis, 1 to 2"),
        ({"center": "middle"}, "row and column in px"),
        ({"radius": -2.0}, "the radius of a disk is -2 px; type it in px, or 0"),
        ({"radius": 30.0}, "do not fit on frames"),
        ({"significance": 1.0}, "expected 2 or more"),
    ],
)
def test_what_was_typed_wrong_is_told(app: Swift, frames: np.ndarray, chosen: Any, words: str) -> None:
    computation, made = bragg_disks.make(app.model, app.add(xdata(frames)), **{"radius": RADIUS, **chosen})
    app.model.recompute_all()
    assert words in computation.error_text
    assert made["table"].xdata is None


def test_what_is_doubtful_in_the_measured_radius_is_told(app: Swift, frames: np.ndarray) -> None:
    item = app.add(xdata(np.minimum(frames, 20)))
    computation, made = bragg_disks.make(app.model, item)
    app.model.recompute_all()
    assert computation.error_text is None
    for name in made:
        assert made[name].caption.count("in the direct beam are at the largest value of the data: saturated") == 1
    told = made["table"].metadata[binding.KEY]["disks"]["notes"]
    assert sum("in the direct beam" in note for note in told) == 1
    computation.set_input_value("radius", RADIUS)
    app.model.recompute_all()
    assert "in the direct beam" not in made["table"].caption


def test_a_beam_that_fills_the_detector_is_told_without_a_parameter_that_nobody_typed(app: Swift) -> None:
    y, x = np.mgrid[:48, :48] - 24.0
    wide = np.random.default_rng(0).poisson(30.0 * (np.hypot(y, x) < 11), (3, 3, 48, 48)).astype(np.uint16)
    computation, made = bragg_disks.make(app.model, app.add(xdata(wide)))
    app.model.recompute_all()
    seen = re.search(r"the direct beam seems to have a radius of ([\d.]+) px", computation.error_text)
    assert seen is not None
    assert float(seen[1]) == pytest.approx(11, abs=0.3)
    assert "type the radius of a disk in px" in computation.error_text
    assert made["map"].xdata is None


def test_frames_without_disks_are_told_and_changed_ones_found(app: Swift, frames: np.ndarray) -> None:
    item = app.add(xdata(np.full((4, 4, 48, 48), 3, np.uint16)))
    computation, made = bragg_disks.make(app.model, item, radius=RADIUS)
    app.model.recompute_all()
    assert computation.error_text.startswith("no disks were found; check radius and significance")
    item.set_data(frames)
    app.model.recompute_all()
    assert computation.error_text is None
    assert made["number"].data.min() >= 1


def test_the_search_can_be_stopped(app: Swift, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    update, calls = Disks.update, []

    def stopping(self: Any, *args: Any) -> None:
        calls.append(1)
        computation._stop_computation_event.fire()
        update(self, *args)

    monkeypatch.setattr(Disks, "update", stopping)
    computation, made = bragg_disks.make(app.model, app.add(xdata(frames)), radius=RADIUS)
    app.model.recompute_all()
    assert calls == [1]
    assert computation.error_text is None
    assert made["map"].xdata is None


def test_the_table_as_a_file(
    app: Swift, frames: np.ndarray, expected: diffraction.DiskTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disks.csv"
    monkeypatch.setattr(app.window, "get_save_file_path", lambda *args: (str(path), "", ""), raising=False)
    item = app.add(xdata(frames))
    app.select(item)
    command.COMMAND.action(app.window)
    (computation,) = app.model.computations
    computation.set_input_value("radius", RADIUS)
    app.select(computation.get_output("map"))
    save_disks.COMMAND.action(app.window)
    assert "there are no disks yet" in app.told[-1]
    app.model.recompute_all()
    app.select(computation.get_output("map"))
    save_disks.COMMAND.action(app.window)
    assert f"Wrote {len(expected):,} disks" in app.told[-1]
    read = np.genfromtxt(path, delimiter=",", names=True)
    np.testing.assert_array_equal(read["scan_row"] * SCAN[1] + read["scan_column"], expected.frame)
    np.testing.assert_allclose(read["x_px"], expected.x, rtol=1e-5)
    np.testing.assert_allclose(read["electrons"], expected.intensity, rtol=1e-5)
    save_disks.COMMAND.action(app.window)
    assert "exists already" in app.told[-1]
    app.select(app.add(xdata(frames[0])))
    save_disks.COMMAND.action(app.window)
    assert "Select a result of Bragg Disks" in app.told[-1]
