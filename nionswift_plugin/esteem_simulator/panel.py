"""The simulator's own panel: what lies under the beam, and what goes wrong in this microscope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nion.swift import Panel
from nion.ui import Declarative

from nionswift_plugin.esteem_scan import layout
from nionswift_plugin.esteem_scan.converters import NumberConverter
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls
from nionswift_plugin.esteem_simulator.settings_model import NUMBERS, SettingsModel

PANEL_ID = "esteem-simulator-panel"
TITLE = "Simulated Microscope (Esteem)"


class SettingsHandler(Declarative.Handler):
    """What the panel shows and does.

    Attributes
    ----------
    model : SettingsModel
    """

    def __init__(self, document_controller: Any, instrument: Any) -> None:
        super().__init__()
        self._calls = UserInterfaceCalls(document_controller.event_loop)
        self.model = SettingsModel(instrument, self._calls)
        self.number = NumberConverter()
        u = Declarative.DeclarativeUI()
        specimen = u.create_column(
            layout.combo(u, "In beam", "model.specimen", "specimen_combo"),
            self._row(u, "thickness"),
            u.create_label(text="@binding(model.status.value)", name="status_label", word_wrap=True),
            u.create_row(
                u.create_check_box(text="Damage", checked="@binding(model.damage.value)", name="damage_check"),
                *self._entries(u, "critical_dose"),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_row(
                u.create_push_button(text="New specimen", on_clicked="renew_clicked", name="renew_button"),
                u.create_stretch(),
            ),
            spacing=4,
        )
        motion = u.create_column(
            self._row(u, "current"),
            self._row(u, "drift_y", "drift_x"),
            self._row(u, "walk"),
            self._row(u, "jitter", "lines"),
            self._row(u, "hum"),
            spacing=4,
        )
        spectrometer = u.create_column(
            self._row(u, "offset", "tube"),
            self._row(u, "dispersion"),
            self._row(u, "energy_drift"),
            u.create_row(
                u.create_check_box(
                    text="Dark counts, gain map and readout noise",
                    checked="@binding(model.noise.value)",
                    name="noise_check",
                ),
                u.create_stretch(),
            ),
            spacing=4,
        )
        self.ui_view = u.create_column(
            u.create_group(specimen, title="Specimen", margin=4),
            u.create_group(motion, title="Beam, drift and scan", margin=4),
            u.create_group(spectrometer, title="EELS spectrometer", margin=4),
            u.create_label(text="@binding(model.message.value)", name="message_label", word_wrap=True),
            u.create_stretch(),
            spacing=6,
            margin=4,
        )

    def _entries(self, u: Declarative.DeclarativeUI, *names: str) -> list[Any]:
        found = []
        for setting in NUMBERS:
            if setting.name in names:
                path, name = f"model.{setting.name}", f"{setting.name}_edit"
                found += layout.entry(u, setting.label, path, "number", name, setting.unit, width=60)
        return found

    def _row(self, u: Declarative.DeclarativeUI, *names: str) -> Any:
        return u.create_row(*self._entries(u, *names), u.create_stretch(), spacing=6)

    def renew_clicked(self, widget: Any) -> None:
        """Put a new specimen into the beam."""
        self.model.renew()

    def close(self) -> None:
        """Let go of everything."""
        self._calls.close()
        self.model.close()
        super().close()


class SettingsPanel(Panel.Panel):
    """The panel as Nion's workspace makes it; ``properties["instrument"]`` is the simulator."""

    def __init__(self, document_controller: Any, panel_id: str, properties: Mapping[str, Any]) -> None:
        super().__init__(document_controller, panel_id, TITLE)
        self.handler = SettingsHandler(document_controller, properties["instrument"])
        self.widget = Declarative.DeclarativeWidget(
            document_controller.ui, document_controller.event_loop, self.handler
        )
