"""The script that a result of 4D-STEM in Nion Swift can be saved as gives the same numbers outside of it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.data import DataAndMetadata
from nion.swift.model import Graphics
from process_frames import RADIUS, crystal, grains, xdata
from process_swift import Swift

from esteemcore import diffraction, simulate
from nionswift_plugin.esteem_process import disk_items
from nionswift_plugin.esteem_process.commands import frames_script as command
from nionswift_plugin.esteem_process.commands import save_disks
from nionswift_plugin.esteem_process.computations import bragg_disks, classify_frames, strain_map


@pytest.fixture
def app(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Swift:
    """Return the window of all tests, in which the user chooses a file."""
    chosen = str(tmp_path / "again.py"), "", ""
    monkeypatch.setattr(app.window, "get_save_file_path", lambda *args: chosen, raising=False)
    return app


def repeated(app: Swift, item: Any, folder: Path) -> Any:
    """Save the script of a result, run it, and return what it wrote."""
    app.select(item)
    command.COMMAND.action(app.window)
    app.until(lambda: app.told)
    assert app.told[-1] == f"{command.TITLE}: Wrote {folder / 'again.py'} and {folder / 'again.esteem'}"
    runpy.run_path(str(folder / "again.py"), run_name="__main__")
    return np.load(folder / "again_result.npz")


def test_classes(app: Swift, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = np.ones((48, 48), np.uint8)
    good[4:6, 7] = 0
    mask = app.add(DataAndMetadata.new_data_and_metadata(good))
    item = app.add(xdata(grains()), 'a "strange" \\ title')
    _, made = classify_frames.make(app.model, item, mask=mask, classes=2)
    app.model.recompute_all()
    found = repeated(app, made["picked"], tmp_path)
    assert "2 asked for" in capsys.readouterr().out
    for name in ("labels", "confidence", "patterns", "fractions"):
        np.testing.assert_array_equal(found[name], made[name].data)


def test_strain_relative_to_a_reference(app: Swift, tmp_path: Path) -> None:
    _, disks = bragg_disks.make(app.model, app.add(xdata(crystal())), radius=RADIUS, ellipse="1.01 20")
    reference = Graphics.RectangleGraphic()
    reference.bounds = ((0.0, 0.0), (1.0, 0.5))
    app.display(disks["number"]).add_graphic(reference)
    _, made = strain_map.make(app.model, disks["table"], disks["number"], "Film", reference=reference)
    app.model.recompute_all()
    found = repeated(app, made["eyy_sigma"], tmp_path)
    for name in strain_map.COMPONENTS:
        np.testing.assert_array_equal(found[name], made[name].data)
    np.testing.assert_array_equal(found["component_sigma"][..., 1], made["eyy_sigma"].data)


def test_strain_behind_a_stop(app: Swift, tmp_path: Path) -> None:
    """The place of the beam is found, and the same in Swift, in the script and in the core."""
    film = simulate.polycrystal((8, 8), (48, 48), radius_px=RADIUS, electrons=3000, grains=1, amorphous=1, seed=2)
    frames = film.frames()
    y, x = np.mgrid[:48, :48] - 24.0
    frames[..., np.hypot(y - 0.5, x) < 5.5] = 0
    computation, disks = bragg_disks.make(app.model, app.add(xdata(frames)), center="find it")
    number, table = disks["number"], disks["table"]
    app.model.recompute_all()
    assert "the radius of a beam behind a stop cannot be measured" in computation.error_text
    computation.set_input_value("radius", RADIUS)
    _, made = strain_map.make(app.model, table, number, "Film")
    app.model.recompute_all()
    expected = diffraction.find_descan(frames, RADIUS, center="friedel").center
    seen = np.asarray(number.data) > 0
    np.testing.assert_array_equal(disk_items.beam_of(table.xdata, (8, 8))[seen], expected[seen])
    assert len(disk_items.from_xdata(table.xdata)) == number.data.sum()
    assert "behind a stop: its place is the centre of symmetry" in number.caption
    found = repeated(app, made["exx"], tmp_path)
    for name in strain_map.COMPONENTS:
        assert np.isfinite(found[name]).mean() > 0.5
        np.testing.assert_array_equal(found[name], made[name].data)


def test_what_is_doubtful_in_the_measured_radius_is_printed(
    app: Swift, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, made = bragg_disks.make(app.model, app.add(xdata(np.minimum(crystal(), 20))))
    app.model.recompute_all()
    found = repeated(app, made["map"], tmp_path)
    assert "saturated" in capsys.readouterr().out
    np.testing.assert_array_equal(found["y"], made["table"].data[1])


def test_a_dot_in_a_name_begins_no_ending(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = bragg_disks.make(app.model, app.add(xdata(crystal())), radius=RADIUS)
    app.model.recompute_all()
    app.select(made["map"])
    for name in ("Scan 1.5 nA", "Scan 1.7 nA.PY"):
        path = str(tmp_path / name)
        monkeypatch.setattr(app.window, "get_save_file_path", lambda *args, path=path: (path, "", ""))
        app.told.clear()
        command.COMMAND.action(app.window)
        app.until(lambda: app.told)
    save_disks.COMMAND.action(app.window)
    expected = {f"Scan 1.5 nA.{end}" for end in ("py", "esteem")} | {f"Scan 1.7 nA.{end}" for end in ("PY", "esteem")}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"Scan 1.7 nA.PY.csv"}


def test_disks_and_no_file_is_replaced(app: Swift, tmp_path: Path) -> None:
    _, made = bragg_disks.make(app.model, app.add(xdata(crystal())), radius=RADIUS, significance=5.0)
    app.model.recompute_all()
    found = repeated(app, made["map"], tmp_path)
    np.testing.assert_array_equal(found["intensity"], made["table"].data[3])
    command.COMMAND.action(app.window)
    assert "exists already; choose another name" in app.told[-1]


def test_only_results_have_a_script(app: Swift) -> None:
    app.select(app.add(xdata(crystal())))
    command.COMMAND.action(app.window)
    assert "Select a result of Classify 4D-STEM" in app.told[-1]
