"""The simulator's panel sets controls, shows what they have, and says what it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from esteem_sim.controls import DEFAULTS

from esteemcore import simulate
from nionswift_plugin.esteem_simulator.panel import SettingsPanel
from nionswift_plugin.esteem_simulator.settings_model import NUMBERS, SWITCHES


@pytest.fixture
def microscope(shared_microscope: Any) -> Any:
    """Everything as at the start."""
    shared_microscope.instrument.controls.restore(DEFAULTS)
    shared_microscope.instrument.stage.damage = None
    shared_microscope.instrument.stage.select("srtio3", 0.4)
    return shared_microscope


@pytest.fixture
def panel(microscope: Any) -> Iterator[SettingsPanel]:
    window = microscope.context.document_controller
    made = SettingsPanel(window, "simulator", {"instrument": microscope.instrument})
    yield made
    made.close()


def until(microscope: Any, condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        microscope.context.document_controller.periodic()
        time.sleep(0.005)


def test_every_setting_goes_to_its_control_and_comes_back(microscope: Any, panel: SettingsPanel) -> None:
    handler: Any = panel.handler
    for number, setting in enumerate(NUMBERS):
        handler.model.model(setting.name).value = 1.5 + number / 4
        value = microscope.instrument.GetVal(setting.control)
        assert value == pytest.approx((1.5 + number / 4) * setting.factor), setting.name
        assert getattr(handler, f"{setting.name}_edit").text == f"{1.5 + number / 4:g}"
    for name, control in SWITCHES.items():
        for on in (True, False):
            handler.model.model(name).value = on
            assert microscope.instrument.GetVal(control) == on
    microscope.instrument.SetVal("ZLPoffset", 7.0)
    until(microscope, lambda: handler.tube_edit.text == "7")
    assert handler.model.message.value == ""


def test_another_specimen_is_computed_and_named(microscope: Any, panel: SettingsPanel) -> None:
    model, instrument = panel.handler.model, microscope.instrument
    assert simulate.COMPOSITIONS[model.specimen_index.value] == "srtio3"
    model.specimen_index.value = simulate.COMPOSITIONS.index("core_shell")
    assert instrument.stage.sample.name == "core_shell"
    assert "Fe3O4" in model.specimen_names.value[model.specimen_index.value]
    until(microscope, lambda: "core_shell are ready" in model.status.value)
    instrument.stage.damage = simulate.Damage()
    before = instrument.stage.suffered
    panel.handler.renew_button.on_clicked()
    assert instrument.stage.suffered is not before
    assert instrument.stage.sample.name == "core_shell"


def test_what_cannot_be_is_refused_in_words(microscope: Any, panel: SettingsPanel) -> None:
    model = panel.handler.model
    model.dispersion.value = -1.0
    assert "EELS_Dispersion cannot be -1" in model.message.value
    assert model.dispersion.value == 0.5
    model.dispersion.value = None
    assert model.message.value == "That is no number"
    assert model.dispersion.value == 0.5
    model.specimen_index.value = simulate.COMPOSITIONS.index("graphene")
    model.thickness.value = 5.0
    assert "graphene is a single sheet" in model.message.value
    assert microscope.instrument.stage.sample.thickness_nm is None
    model.critical_dose.value = -5.0
    assert "critical_dose" in model.message.value
