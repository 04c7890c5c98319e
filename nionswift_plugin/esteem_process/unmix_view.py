"""How the window before an unmixing looks."""

from __future__ import annotations

import functools
from typing import Any

from nion.ui import Declarative

from nionswift_plugin.esteem_scan import layout

WIDTH = 520


def make_window(title: str) -> Any:
    """Return the window of an `UnmixWindow`."""
    u = Declarative.DeclarativeUI()
    entry = functools.partial(layout.entry, u)

    def row(*parts: Any) -> Any:
        return u.create_row(*parts, u.create_stretch(), spacing=6)

    what = row(
        u.create_label(text="Spectra", width=layout.LABEL),
        u.create_label(text="@binding(what.value)", width=WIDTH - layout.LABEL - 10, word_wrap=True),
    )
    noise = row(
        u.create_label(text="Noise", width=layout.LABEL),
        u.create_combo_box(
            items_ref="@binding(noise_names.value)", current_index="@binding(noise_index.value)", name="noise_box"
        ),
        *entry("gain", "gain", "number", "gain_edit", "counts/e", width=44),
        *entry("readout noise", "readout_sigma", "number", "readout_edit", "counts", width=44),
    )
    number = row(
        u.create_label(text="Number", width=layout.LABEL),
        *entry("", "components", "whole", "components_edit", "components (0: find out)", width=44),
        *entry("seed", "seed", "whole", "seed_edit", width=44),
    )
    elements = row(
        u.create_label(text="Mark", width=layout.LABEL),
        u.create_line_edit(
            text="@binding(elements.value)", name="elements_edit", width=120, placeholder_text="Ni Cr Si",
            tool_tip="Elements whose X-ray lines are marked in the plot of the spectra",
        ),
        u.create_label(text="X-ray lines of elements"),
    )  # fmt: skip
    sure = row(
        u.create_check_box(
            text="How sure each component is (takes 30 to 100 times as long)",
            checked="@binding(is_sure.value)", name="sure_box",
        ),
    )  # fmt: skip
    picture = u.create_image(image="@binding(picture.value)", name="picture_image", width=500, height=380)
    said = u.create_text_edit(
        text="@binding(message.value)", name="message_text", editable=False, width=WIDTH - 10, height=72
    )
    buttons = row(
        u.create_push_button(text="Unmix", on_clicked="unmix_clicked", name="unmix_button"),
        u.create_push_button(
            text="Stop Preview", on_clicked="stop_clicked", name="stop_button", enabled="@binding(is_running.value)"
        ),
        u.create_progress_bar(value="@binding(progress.value)", width=150, name="progress_bar"),
    )
    method = layout.combo(u, "Method", "method", "method_box")
    content = u.create_column(
        what, noise, number, method, elements, sure, picture, said, buttons, u.create_stretch(), spacing=6, margin=8
    )
    return u.create_window(content, title=title)
