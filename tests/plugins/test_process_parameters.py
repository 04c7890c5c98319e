"""The window with the parameters of a command: what is typed acts, Stop stops, and the main result is shown first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from process_frames import RADIUS, crystal, xdata
from process_swift import Swift

from esteemcore.diffraction.disks import Disks
from nionswift_plugin.esteem_process import parameters_window
from nionswift_plugin.esteem_process.commands import bragg_disks as command


@pytest.fixture
def opened(app: Swift, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the windows that are opened."""
    found: list[Any] = []
    make = parameters_window.ParametersWindow

    def noting(*args: Any) -> Any:
        found.append(make(*args))
        return found[-1]

    monkeypatch.setattr(parameters_window, "ParametersWindow", noting)
    return found


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
