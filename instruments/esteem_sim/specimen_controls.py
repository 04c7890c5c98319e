"""Specimen and damage as controls, for panels and scripts that set everything by name."""

from __future__ import annotations

import dataclasses

from esteem_sim.controls import Controls
from esteem_sim.specimen_stage import SpecimenStage
from esteemcore import simulate
from esteemcore.errors import ParameterError

SPECIMEN, THICKNESS = "Specimen", "SpecimenThickness"
"""Number of the specimen in `esteemcore.simulate.COMPOSITIONS`, and its thickness in m; 0 for its usual one."""
DAMAGE, CRITICAL_DOSE = "SpecimenDamage", "CriticalDose"
"""Whether the beam harms the specimen (0 or 1), and beyond which dose in e/Å²; setting either makes it a new one."""
AXIS_OFFSET = "eels_x_offset"
"""Loss at channel 0 of the EELS camera in eV: prism and drift tube together."""


def add(controls: Controls, stage: SpecimenStage) -> None:
    """Add the controls to those of an instrument."""
    critical = simulate.Damage().critical_dose

    def select(number: float) -> None:
        index = round(number)
        if not 0 <= index < len(simulate.COMPOSITIONS):
            names = ", ".join(f"{k} {name}" for k, name in enumerate(simulate.COMPOSITIONS))
            raise ParameterError(f"there is no specimen {number:g}; expected one of {names}")
        stage.select(simulate.COMPOSITIONS[index])

    def thin(thickness_m: float) -> None:
        stage.select(stage.sample.name, thickness_m * 1e9 or None)

    def harm(on: float) -> None:
        stage.damage = simulate.Damage(critical_dose=critical) if on else None

    def set_critical(dose: float) -> None:
        nonlocal critical
        checked = dataclasses.replace(stage.damage or simulate.Damage(), critical_dose=dose)
        critical = checked.critical_dose
        if stage.damage is not None:
            stage.damage = checked

    def offset() -> float:
        return (controls.get_value("EELS_Offset") or 0.0) + (controls.get_value("ZLPoffset") or 0.0)

    def set_offset(energy_ev: float) -> None:
        controls.set_value("EELS_Offset", energy_ev - (controls.get_value("ZLPoffset") or 0.0))

    controls.add_special(SPECIMEN, lambda: float(simulate.COMPOSITIONS.index(stage.sample.name)), select)
    controls.add_special(THICKNESS, lambda: (stage.sample.thickness_nm or 0.0) * 1e-9, thin)
    controls.add_special(DAMAGE, lambda: float(stage.damage is not None), harm)
    controls.add_special(CRITICAL_DOSE, lambda: critical, set_critical)
    controls.add_special(AXIS_OFFSET, offset, set_offset)
