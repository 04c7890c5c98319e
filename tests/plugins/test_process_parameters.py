"""The window with the parameters of a command: what is typed acts, Stop stops, and the main result is shown first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.swift import Inspector
from process_frames import RADIUS, crystal, xdata
from process_swift import Swift

from esteemcore.diffraction.disks import Disks
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import frames_script, parameters_window
from nionswift_plugin.esteem_process.commands import bragg_disks as command
from nionswift_plugin.esteem_process.commands import classify_frames as classify
from nionswift_plugin.esteem_process.computations import classify_frames
from nionswift_plugin.esteem_scan import binding


@pytest.fixture
def opened(app: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return the windows that are opened; nothing is computed any more in the end."""
    found: list[Any] = []
    make = parameters_window.ParametersWindow

    def noting(*args: Any) -> Any:
        found.append(make(*args))
        return found[-1]

    monkeypatch.setattr(parameters_window, "ParametersWindow", noting)
    yield found
    for computation in list(app.model.computations):
        computation.auto_update = False  # so that none begins while another one ends
        if computation.is_running:
            app.until(lambda each=computation: not each.is_running)


def test_parameters_status_and_what_went_wrong(app: Swift, opened: list[Any]) -> None:
    app.select(app.add(xdata(crystal()), "Film"))
    command.COMMAND.action(app.window)
    (window,), (computation,) = opened, app.model.computations
    assert window.computation is computation
    labels = [variable.display_label for variable in computation.variables]
    assert labels[:2] == ["Frames", "Radius of a disk (px of 0.5 mrad; 0: that of the beam)"]
    assert labels[-1] == "Direct beam behind a stop (row and column in px, or: find)"
    assert window.status.value == "Waiting"
    computation.set_input_value("radius", -1.0)
    app.model.recompute_all()
    app.until(lambda: "Error: the radius of a disk is -1 px" in window.status.value)
    assert window.color.value == "red"
    computation.set_input_value("radius", RADIUS)
    app.model.recompute_all()
    app.until(lambda: window.status.value.startswith("Done in "))
    assert (window.color.value, window.is_running.value) == ("black", False)
    assert window.is_open
    app.clear()
    app.until(lambda: not window.is_open)


def test_the_main_result_is_shown_where_there_is_one_place(app: Swift) -> None:
    (panel,) = app.window.workspace_controller.display_panels
    panel.set_display_panel_display_item(None)
    app.select(app.add(xdata(crystal()), "Film"))
    command.COMMAND.action(app.window)
    made = app.model.computations[0].get_output("map")
    assert panel.display_item is app.display(made)
    assert list(app.window.selected_data_items) == [made]


def test_stop_stops(app: Swift, opened: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    update = Disks.update

    def stopping(self: Any, *args: Any) -> None:
        opened[0].stop_clicked(None)
        update(self, *args)

    monkeypatch.setattr(Disks, "update", stopping)
    app.select(app.add(xdata(crystal()), "Film"))
    command.COMMAND.action(app.window)
    (computation,) = app.model.computations
    computation.set_input_value("radius", RADIUS)
    app.model.recompute_all()
    assert computation.error_text is None
    assert computation.get_output("map").xdata is None
    monkeypatch.setattr(Disks, "update", update)
    opened[0].update_clicked(None)
    app.model.recompute_all()
    assert np.asarray(computation.get_output("number").data).min() >= 1


@pytest.fixture
def radius(app: Swift, opened: list[Any]) -> Any:
    """Return the row of the radius, in the window of a search for disks that has not begun."""
    app.select(app.add(xdata(crystal()), "Film"))
    command.COMMAND.action(app.window)
    return opened[0].rows["radius"]


@pytest.mark.parametrize("typed", ["abc", "", "-", "nan", "4 px"])
def test_nonsense_is_refused(app: Swift, opened: list[Any], radius: Any, typed: str) -> None:
    (window,), (computation,) = opened, app.model.computations
    radius.edit.editing_finished(f"{RADIUS:g}")
    app.model.recompute_all()
    app.until(lambda: window.status.value.startswith("Done in "))
    radius.edit.editing_finished(typed)
    assert (window.status.value, window.color.value) == ("Error: Radius of a disk must be a number", "red")
    assert radius.edit.text == typed  # so that it can be mended
    window.update_clicked(None)
    assert computation.get_input_value("radius") == RADIUS
    assert not computation.needs_update
    radius.edit.editing_finished(f"{RADIUS:g}")
    assert window.status.value.startswith("Done in ")
    assert window.color.value == "black"


def test_a_comma_and_an_exponent_are_numbers(app: Swift, opened: list[Any], radius: Any) -> None:
    (computation,) = app.model.computations
    radius.edit.editing_finished("3,5")
    assert (computation.get_input_value("radius"), radius.edit.text) == (3.5, "3.5")
    radius.edit.editing_finished("1e3")
    assert (computation.get_input_value("radius"), radius.edit.text) == (1000.0, "1000")


def test_whole_numbers_texts_and_choices(app: Swift, opened: list[Any]) -> None:
    app.select(app.add(xdata(crystal()), "Film"))
    classify.COMMAND.action(app.window)
    (window,) = opened
    computation = next(each for each in app.model.computations if each.processing_id == classify_frames.ID)
    window.rows["binning"].edit.editing_finished("1e3")
    assert computation.get_input_value("binning") == 1000
    for typed in ("2.5", "abc", "", "3,5"):
        window.rows["binning"].edit.editing_finished(typed)
        assert window.status.value == "Error: Bins must be a whole number"
        assert computation.get_input_value("binning") == 1000
    window.rows["binning"].edit.editing_finished("0")
    window.rows["center"].edit.editing_finished("63.55 64.25")
    assert computation.get_input_value("center") == "63.55 64.25"
    window.rows["center"].edit.editing_finished("")
    assert computation.get_input_value("center") == ""
    window.rows["second_way"].check_box.checked = True
    assert computation.get_input_value("second_way") is True
    assert window.color.value == "black"


def test_undo_and_redo_keep_the_computation_alive(app: Swift, opened: list[Any], radius: Any) -> None:
    (computation,) = app.model.computations
    radius.edit.editing_finished("3")
    radius.edit.editing_finished("2.5")
    for step, value in ((app.window.handle_undo, 3.0), (app.window.handle_redo, 2.5), (app.window.handle_undo, 3.0)):
        step()
        app.until(lambda value=value: radius.edit.text == f"{value:g}")
        assert computation.get_input_value("radius") == value
        app.model.recompute_all()
        assert computation.error_text is None
    assert computation.get_output("map").metadata[binding.KEY]["disks"]["radius_px"] == 3.0
    radius.edit.editing_finished("abc")
    app.window.handle_undo()
    app.until(lambda: radius.edit.text == "0" and not radius.complaint)
    app.model.recompute_all()
    assert computation.error_text is None


def test_what_was_mended_waits_for_update(app: Swift, opened: list[Any], radius: Any) -> None:
    (window,), (computation,) = opened, app.model.computations
    app.model.recompute_all()
    app.until(lambda: window.status.value.startswith("Done in "))
    window.auto_box.checked = False
    radius.edit.editing_finished("-1")
    app.until(lambda: window.status.value == "Changed; press Update")
    window.update_clicked(None)
    app.until(lambda: window.status.value.startswith("Error: the radius of a disk is -1 px"))
    assert window.color.value == "red"
    radius.edit.editing_finished(f"{RADIUS:g}")
    app.until(lambda: window.status.value == "Changed; press Update")
    assert window.color.value == "black"
    app.until(lambda: not computation.is_running)  # Nion Swift is busy for a moment after an error
    window.update_clicked(None)
    app.until(lambda: window.status.value.startswith("Done in "))
    assert computation.error_text is None


def test_a_value_that_is_missing_is_told(app: Swift, opened: list[Any], radius: Any, tmp_path: Path) -> None:
    (computation,) = app.model.computations
    computation.set_input_value("radius", None)
    app.model.recompute_all()
    assert computation.error_text == "Radius of a disk has no value; type one in the window with the parameters"
    with pytest.raises(ParameterError, match="Radius of a disk has no value"):
        frames_script.prepare(app.model, computation, tmp_path / "again.py")
    app.until(lambda: opened[0].status.value == "Error: Radius of a disk must be a number")
    radius.edit.editing_finished(f"{RADIUS:g}")
    app.model.recompute_all()
    assert computation.error_text is None


def test_undo_of_a_window_of_nion_swift_loses_no_value(app: Swift, opened: list[Any], radius: Any) -> None:
    (computation,) = app.model.computations
    variable = next(each for each in computation.variables if each.name == "radius")
    nion = Inspector.VariableValueModel(app.window, computation, variable)
    nion.value = 3.0
    nion.value = 2.5
    app.window.handle_undo()
    app.model.recompute_all()
    assert computation.error_text is None
    assert computation.get_output("map").metadata[binding.KEY]["disks"]["radius_px"] == 3.0
