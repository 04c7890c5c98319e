"""The script that a result of 4D-STEM in Nion Swift can be saved as gives the same numbers outside of it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.data import DataAndMetadata
from nion.swift.model import Graphics
from process_frames import RADIUS, crystal, grains, xdata
from process_swift import Swift, in_memory

from nionswift_plugin.esteem_process.commands import frames_script as command
from nionswift_plugin.esteem_process.computations import bragg_disks, classify_frames, strain_map


@pytest.fixture(scope="module")
def window(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


@pytest.fixture
def app(window: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    """Return the window of all tests, empty again, in which the user chooses a file."""
    chosen = str(tmp_path / "again.py"), "", ""
    monkeypatch.setattr(window.window, "get_save_file_path", lambda *args: chosen, raising=False)
    yield window
    window.clear()


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


def test_what_is_doubtful_in_the_measured_radius_is_printed(
    app: Swift, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, made = bragg_disks.make(app.model, app.add(xdata(np.minimum(crystal(), 20))))
    app.model.recompute_all()
    found = repeated(app, made["map"], tmp_path)
    assert "saturated" in capsys.readouterr().out
    np.testing.assert_array_equal(found["y"], made["table"].data[1])


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
