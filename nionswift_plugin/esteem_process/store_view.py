"""How the window for compressing looks."""

from __future__ import annotations

import functools
from typing import Any

from nion.ui import Declarative

from nionswift_plugin.esteem_scan import layout

TITLE = "Compress to Container"
WIDTH = 480


def make_window() -> Any:
    """Return the window of a `StoreWindow`."""
    u = Declarative.DeclarativeUI()
    entry = functools.partial(layout.entry, u)
    what = u.create_row(
        u.create_label(text="Data", width=layout.LABEL),
        u.create_label(text="@binding(what.value)", width=WIDTH - layout.LABEL - 10, word_wrap=True),
        u.create_stretch(),
        spacing=6,
    )
    file = u.create_row(
        u.create_label(text="File", width=layout.LABEL),
        u.create_line_edit(text="@binding(path.value)", name="path_edit", width=310),
        u.create_push_button(text="Choose...", on_clicked="choose_clicked", name="choose_button"),
        u.create_stretch(),
        spacing=6,
    )
    bound = u.create_row(
        u.create_label(text="Bound", width=layout.LABEL),
        *entry("no value differs by more than", "bound_sigma", "number", "bound_edit", "σ", width=44),
        u.create_stretch(),
        spacing=6,
        visible="@binding(is_bounded.value)",
    )
    coarse = u.create_row(
        u.create_label(text="Blocks", width=layout.LABEL),
        u.create_line_edit(
            text="@binding(blocks.value)",
            name="blocks_edit",
            width=228,
            tool_tip="auto, or start:stop:factor, ... in the unit of the energy axis, as in 100:450:40, 450:484:1",
        ),
        u.create_label(text="@binding(energy_unit.value)"),
        *entry("components", "n_components", "whole", "components_edit", width=44),
        u.create_stretch(),
        spacing=6,
        visible="@binding(is_coarse.value)",
    )
    noise = u.create_row(
        u.create_label(text="Noise", width=layout.LABEL),
        *entry("gain", "gain", "number", "gain_edit", "counts/e", width=44),
        *entry("readout noise", "readout_sigma", "number", "readout_edit", "counts", width=44),
        u.create_stretch(),
        spacing=6,
        visible="@binding(is_lossy.value)",
    )
    buttons = u.create_row(
        u.create_push_button(
            text="Compress", on_clicked="store_clicked", name="store_button", enabled="@binding(is_idle.value)"
        ),
        u.create_push_button(
            text="Stop", on_clicked="stop_clicked", name="stop_button", enabled="@binding(is_running.value)"
        ),
        u.create_progress_bar(value="@binding(progress.value)", width=150, name="progress_bar"),
        u.create_stretch(),
        u.create_push_button(
            text="Remove from Project",
            on_clicked="remove_clicked",
            name="remove_button",
            enabled="@binding(can_remove.value)",
            tool_tip="Remove the data items that were stored, and what is computed from them, from the project",
        ),
        spacing=6,
    )
    message = u.create_text_edit(
        text="@binding(message.value)", name="message_text", editable=False, width=WIDTH - 10, height=104
    )
    method = layout.combo(u, "Method", "method", "method_box")
    content = u.create_column(
        what, method, bound, coarse, noise, file, buttons, message, u.create_stretch(), spacing=6, margin=8
    )
    return u.create_window(content, title=TITLE)
