"""The simulator's settings in the units of a panel; each is a control of the instrument."""

from __future__ import annotations

import dataclasses
from typing import Any

from esteem_sim import Instrument
from nion.utils import Model

from esteemcore import simulate
from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls


@dataclasses.dataclass(frozen=True)
class Setting:
    """A number of the panel.

    Attributes
    ----------
    name : str
        Attribute of the model.
    control : str
        Of the instrument.
    unit : str
        As the panel shows it.
    factor : float
        From this unit to that of the control.
    label : str
    """

    name: str
    control: str
    unit: str
    factor: float
    label: str


NUMBERS = (
    Setting("current", "BeamCurrent", "pA", 1e-12, "Beam current"),
    Setting("thickness", "SpecimenThickness", "nm (0: usual)", 1e-9, "Thickness"),
    Setting("critical_dose", "CriticalDose", "e/Å²", 1.0, "above"),
    Setting("drift_y", "SpecimenDrift.y", "nm/min", 1e-9 / 60, "Drift, rows"),
    Setting("drift_x", "SpecimenDrift.x", "nm/min", 1e-9 / 60, "columns"),
    Setting("walk", "SpecimenWalk", "pm in 1 s", 1e-12, "Random walk"),
    Setting("jitter", "ScanJitter", "pm", 1e-12, "Jitter, positions"),
    Setting("lines", "LineJitter", "pm", 1e-12, "lines"),
    Setting("hum", "MainsHum", "pm", 1e-12, "Mains at 50 Hz"),
    Setting("offset", "EELS_Offset", "eV", 1.0, "Loss at channel 0"),
    Setting("tube", "ZLPoffset", "eV", 1.0, "drift tube"),
    Setting("dispersion", "EELS_Dispersion", "eV per channel", 1.0, "Dispersion"),
    Setting("energy_drift", "EELS_EnergyDrift", "eV/min", 1 / 60, "Energy drift"),
)
"""All numbers."""
SWITCHES = {"damage": "SpecimenDamage", "noise": "EELS_CameraNoise"}
"""Controls that are on or off."""


class SettingsModel:
    """A property model for each setting; what is typed goes to the instrument, and what it refuses comes back.

    Parameters
    ----------
    instrument : Instrument
    calls : UserInterfaceCalls

    Attributes
    ----------
    specimen_names, specimen_index : PropertyModel
        `esteemcore.simulate.COMPOSITIONS`, and which of them is in the beam.
    status, message : PropertyModel
        What the computation of the patterns does, and what was refused.
    """

    def __init__(self, instrument: Instrument, calls: UserInterfaceCalls) -> None:
        self._instrument = instrument
        self._calls = calls
        self._is_following = False
        self.specimen_names = Model.PropertyModel[list[str]](
            [simulate.composition(name).description for name in simulate.COMPOSITIONS]
        )
        self.specimen_index = Model.PropertyModel(0)
        self.status, self.message = Model.PropertyModel(""), Model.PropertyModel("")
        for setting in NUMBERS:
            setattr(self, setting.name, Model.PropertyModel(0.0))
        for name in SWITCHES:
            setattr(self, name, Model.PropertyModel(False))
        self.follow()
        self.specimen_index.on_value_changed = lambda value: self._put("Specimen", value)
        for setting in NUMBERS:
            self.model(setting.name).on_value_changed = lambda value, setting=setting: self._put(
                setting.control, None if value is None else value * setting.factor
            )
        for name, control in SWITCHES.items():
            self.model(name).on_value_changed = lambda value, control=control: self._put(control, float(bool(value)))
        self._listeners = [
            instrument.property_changed_event.listen(lambda name: calls.newest("simulator", self.follow)),
            instrument.stage.changed_event.listen(lambda: calls.newest("simulator", self.follow)),
        ]

    def close(self) -> None:
        """Follow no more."""
        while self._listeners:
            self._listeners.pop().close()

    def model(self, name: str) -> Any:
        """Return the property model of a setting."""
        return getattr(self, name)

    def follow(self) -> None:
        """Show what the instrument has."""
        self._is_following = True
        try:
            stage = self._instrument.stage
            self.specimen_index.value = simulate.COMPOSITIONS.index(stage.sample.name)
            for setting in NUMBERS:
                value = self._instrument.controls.get_value(setting.control) or 0.0
                self.model(setting.name).value = float(f"{value / setting.factor:.6g}")
            for name, control in SWITCHES.items():
                self.model(name).value = bool(self._instrument.controls.get_value(control))
            self.status.value = stage.status
        finally:
            self._is_following = False

    def renew(self) -> None:
        """Put a new specimen of the same kind into the beam."""
        self._instrument.stage.select(self._instrument.stage.sample.name, self._instrument.stage.sample.thickness_nm)
        self.message.value = "A new specimen, which has suffered nothing yet"

    def _put(self, control: str, value: float | None) -> None:
        if self._is_following:
            return
        self.message.value = ""
        try:
            if value is None:
                self.message.value = "That is no number"
            elif not self._instrument.controls.set_value(control, value):
                self.message.value = f"{control} cannot be {value:g}"
        except EsteemError as error:
            self.message.value = str(error)
        self.follow()
