"""How the live panel looks: settings to scroll through, and below them what must always be in reach."""

from __future__ import annotations

import functools
from typing import Any

from nion.ui import Declarative

from nionswift_plugin.esteem_scan import layout

WIDTH = 370
"""Least width of the panel in px."""


def make_view(u: Declarative.DeclarativeUI) -> Any:
    """Return the view of a `LiveHandler`."""
    settings = u.create_column(
        u.create_component_instance("plan"),
        u.create_group(_geometry(u), title="Geometry", margin=4),
        u.create_group(_disks(u), title="Bragg disks", margin=4),
        u.create_group(_storage(u), title="Storage", margin=4),
        u.create_stretch(),
        spacing=6,
        margin=6,
    )
    area = u.create_scroll_area(settings, name="scroll_area", horizontal_scroll_bar_policy="off")
    return u.create_column(area, _run(u), spacing=4, margin=0, min_width=WIDTH)


def _geometry(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    return u.create_column(
        u.create_row(
            *entry("Semi-angle", "geometry.semiangle_mrad", "number", "semiangle_edit", "mrad", width=52),
            *entry("pixel", "geometry.pixel_mrad", "number", "pixel_edit", "mrad", width=60),
            u.create_stretch(),
            spacing=6,
        ),
        u.create_row(
            *entry("Rotation", "geometry.rotation_deg", "number", "rotation_edit", "°", width=52),
            *entry("defocus", "geometry.defocus_nm", "number", "defocus_edit", "nm", width=52),
            u.create_stretch(),
            spacing=6,
        ),
        u.create_row(
            *entry("Regularization", "geometry.regularization", "number", "regularization_edit", width=52),
            u.create_push_button(
                text="As measured",
                on_clicked="measured_clicked",
                name="measured_button",
                tool_tip="Take the values of the instrument, or of the opened file, again",
            ),
            u.create_stretch(),
            spacing=6,
        ),
        spacing=4,
    )


def _disks(u: Declarative.DeclarativeUI) -> Any:
    return u.create_row(
        u.create_check_box(
            text="Map of Bragg vectors",
            checked="@binding(bragg.value)",
            name="bragg_box",
            tool_tip="Find the disks of every frame, of the radius of the semi-angle, while frames arrive",
        ),
        *layout.entry(u, "least score", "bragg_significance", "number", "bragg_significance_edit", "σ", width=40),
        u.create_stretch(),
        spacing=6,
    )


def _storage(u: Declarative.DeclarativeUI) -> Any:
    return u.create_column(
        u.create_row(
            u.create_line_edit(text="@binding(folder.value)", name="folder_edit", width=220),
            u.create_push_button(text="Choose...", on_clicked="folder_clicked", name="folder_button"),
            u.create_stretch(),
            spacing=6,
        ),
        u.create_row(
            u.create_check_box(text="Keep raw frames", checked="@binding(keep_raw.value)", name="keep_raw_box"),
            u.create_stretch(),
        ),
        spacing=4,
    )


def _run(u: Declarative.DeclarativeUI) -> Any:
    buttons = u.create_row(
        u.create_push_button(
            text="Acquire", on_clicked="acquire_clicked", name="acquire_button", enabled="@binding(is_idle.value)"
        ),
        u.create_push_button(
            text="Abort", on_clicked="abort_clicked", name="abort_button", enabled="@binding(is_running.value)"
        ),
        u.create_progress_bar(value="@binding(progress.value)", width=150, name="progress_bar"),
        u.create_stretch(),
        spacing=6,
    )
    files = u.create_row(
        u.create_push_button(
            text="Open run...",
            on_clicked="open_clicked",
            name="open_button",
            enabled="@binding(is_idle.value)",
            tool_tip="Open the folder of an earlier run (.esteem)",
        ),
        u.create_push_button(
            text="Open file...",
            on_clicked="open_file_clicked",
            name="open_file_button",
            enabled="@binding(is_idle.value)",
            tool_tip="Open 4D-STEM data of another program",
        ),
        u.create_push_button(
            text="Read again",
            on_clicked="again_clicked",
            name="again_button",
            enabled="@binding(has_file.value)",
            tool_tip="Make the images from the raw frames of the last run, with the geometry above",
        ),
        u.create_push_button(
            text="Save rest...",
            on_clicked="rescue_clicked",
            name="rescue_button",
            enabled="@binding(has_rest.value)",
            tool_tip="Write the frames that the raw file could not take to another folder",
        ),
        u.create_stretch(),
        spacing=4,
    )
    return u.create_column(
        buttons,
        u.create_label(text="@binding(status.value)", name="status_label", word_wrap=True),
        u.create_label(text="@binding(message.value)", name="message_label", word_wrap=True),
        files,
        spacing=4,
        margin=6,
    )
