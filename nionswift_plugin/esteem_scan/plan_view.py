"""The part of a panel in which the scan is planned."""

from __future__ import annotations

from typing import Any

from nion.ui import Declarative

from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_scan import layout
from nionswift_plugin.esteem_scan.converters import NumberConverter, WholeConverter
from nionswift_plugin.esteem_scan.plan_model import METHODS, PlanModel
from nionswift_plugin.esteem_scan.scan_plan import PATTERNS


class PlanHandler(Declarative.Handler):
    """Devices, plan and dose, top to bottom; for any panel that acquires.

    Parameters
    ----------
    model : PlanModel
        Closed by its owner.
    """

    def __init__(self, model: PlanModel) -> None:
        super().__init__()
        self.model = model
        self.whole = WholeConverter()
        self.number = NumberConverter()
        u = Declarative.DeclarativeUI()
        entry = layout.entry
        devices = u.create_column(
            layout.combo(u, "Scan", "model.scan", "scan_combo"),
            layout.combo(u, "Camera", "model.camera", "camera_combo"),
            spacing=4,
        )
        plan = u.create_column(
            u.create_row(
                u.create_label(text="Order", width=layout.LABEL),
                u.create_combo_box(
                    items=list(PATTERNS), current_index="@binding(model.pattern_index.value)", name="pattern_combo"
                ),
                *entry(u, "Seed", "model.seed", "whole", "seed_edit", width=44),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_row(
                u.create_label(text="Sparse", width=layout.LABEL),
                *entry(u, "fraction", "model.fraction", "number", "fraction_edit", width=44),
                u.create_combo_box(
                    items=list(METHODS), current_index="@binding(model.method_index.value)", name="method_combo"
                ),
                u.create_stretch(),
                spacing=6,
                visible="@binding(model.is_sparse.value)",
            ),
            u.create_row(
                u.create_label(text="Size", width=layout.LABEL),
                *entry(u, "", "model.rows", "whole", "rows_edit", width=52),
                *entry(u, "x", "model.columns", "whole", "columns_edit", "px (rows x columns)", width=52),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_row(
                u.create_label(text="Field", width=layout.LABEL),
                *entry(u, "", "model.fov_nm", "number", "fov_edit", "nm", width=60),
                *entry(u, "step", "model.step_nm", "number", "step_edit", "nm", width=60),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_row(
                u.create_label(text="Dwell", width=layout.LABEL),
                *entry(u, "", "model.dwell_us", "number", "dwell_edit", "µs", width=60),
                *entry(u, "=", "model.rate", "number", "rate_edit", "frames/s", width=60),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_row(
                u.create_label(text="Passes", width=layout.LABEL),
                *entry(u, "", "model.frames", "whole", "frames_edit", width=44),
                u.create_stretch(),
                spacing=6,
            ),
            spacing=4,
        )
        dose = u.create_column(
            u.create_label(text="@binding(model.planned.value)", name="planned_label", word_wrap=True),
            u.create_label(text="@binding(model.so_far.value)", name="so_far_label", word_wrap=True),
            u.create_row(
                *entry(u, "Wished", "model.wished_dose", "number", "wished_edit", "e/Å²", width=60),
                u.create_push_button(text="Use its current", on_clicked="current_clicked", name="current_button"),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_label(text="@binding(model.needed.value)", name="needed_label", word_wrap=True),
            u.create_row(
                *entry(u, "Budget", "model.budget", "number", "budget_edit", "e/Å² (0: none)", width=60),
                u.create_stretch(),
                spacing=6,
            ),
            u.create_label(text="@binding(model.warning.value)", name="warning_label", word_wrap=True),
            u.create_row(
                u.create_label(text="Reason"),
                u.create_line_edit(text="@binding(model.override_reason.value)", name="reason_edit", width=140),
                u.create_push_button(text="Override", on_clicked="override_clicked", name="override_button"),
                u.create_stretch(),
                spacing=6,
                visible="@binding(model.is_too_much.value)",
            ),
            spacing=4,
        )
        self.ui_view = u.create_column(
            u.create_group(devices, title="Devices", margin=4),
            u.create_group(plan, title="Scan plan", margin=4),
            u.create_group(dose, title="Dose", margin=4),
            spacing=6,
        )

    def current_clicked(self, widget: Any) -> None:
        """Set the current that the wished dose needs."""
        self.model.use_needed_current()

    def override_clicked(self, widget: Any) -> None:
        """Go beyond the budget."""
        try:
            self.model.override()
        except EsteemError as error:
            self.model.warning.value = str(error)
