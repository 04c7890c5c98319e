"""How the panel looks: worked from top to bottom, and below it what must always be in reach."""

from __future__ import annotations

import functools
from typing import Any

from nion.ui import Declarative

from esteemcore.multiframe import ORDERS
from nionswift_plugin.esteem_multiframe.model import SLOTS
from nionswift_plugin.esteem_scan import layout

WIDTH = 390
"""Least width of the panel in px."""
LINE = 16
"""Height of a line of text in px: words that change while the panel is shown do not make room for themselves."""


def make_view(u: Declarative.DeclarativeUI) -> Any:
    """Return the view of a `MultiframeHandler`."""
    groups = [
        ("1  Session", _session(u)),
        ("2  Region and survey", _survey(u)),
        ("3  Pixels and frames", _pixels(u)),
        ("4  Advanced", _advanced(u)),
        ("5  What it costs", _costs(u)),
        ("6  While frames come in", _live(u)),
        ("7  At the end", _end(u)),
    ]
    settings = u.create_column(
        *(u.create_group(content, title=title, margin=4) for title, content in groups),
        u.create_stretch(),
        spacing=6,
        margin=6,
    )
    area = u.create_scroll_area(settings, name="scroll_area", horizontal_scroll_bar_policy="off")
    return u.create_column(area, _run(u), spacing=4, margin=0, min_width=WIDTH)


def _row(u: Declarative.DeclarativeUI, *parts: Any, **more: Any) -> Any:
    return u.create_row(*parts, u.create_stretch(), spacing=6, **more)


def _button(u: Declarative.DeclarativeUI, text: str, name: str, tip: str = "", enabled: str = "is_idle") -> Any:
    more = {"tool_tip": tip} if tip else {}
    return u.create_push_button(
        text=text, on_clicked=f"{name}_clicked", name=f"{name}_button", enabled=f"@binding({enabled}.value)", **more
    )


def _session(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    slots = [
        u.create_row(
            u.create_check_box(checked=f"@binding(model.slot{slot}_chosen.value)", name=f"slot{slot}_box"),
            u.create_label(text=f"@binding(model.slot{slot}_name.value)", name=f"slot{slot}_label"),
            u.create_stretch(),
            spacing=4,
            visible=f"@binding(model.slot{slot}_there.value)",
        )
        for slot in range(SLOTS)
    ]
    return u.create_column(
        _row(
            u,
            u.create_line_edit(text="@binding(model.folder.value)", name="folder_edit", width=240),
            _button(u, "Choose...", "folder"),
        ),
        layout.combo(u, "Scan", "model.scan", "scan_combo"),
        u.create_label(text="Record"),
        *slots,
        _row(
            u,
            *entry(
                "Writing a frame (0: as measured)",
                "model.write_overhead_s",
                "number",
                "write_overhead_edit",
                "s",
                width=44,
            ),
            u.create_check_box(text="Compress", checked="@binding(model.compress.value)", name="compress_box"),
        ),
        spacing=4,
    )


def _survey(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    return u.create_column(
        _row(
            u,
            u.create_label(text="@binding(region_name.value)", name="region_label"),
            _button(u, "New region", "new_region", "Make the next numbered folder; frames go there from now on"),
            _button(u, "Last region", "last_region", "Append to the last region of this session folder"),
        ),
        _row(
            u,
            u.create_push_button(
                text="@binding(live_text.value)",
                on_clicked="live_clicked",
                name="live_button",
                enabled="@binding(is_idle.value)",
            ),
            _button(u, "Survey", "survey", "Scan the field of the scan panel once, and draw the region on the image"),
        ),
        _row(
            u,
            *entry("Height", "model.height_nm", "number", "height_edit", width=60),
            *entry("width", "model.width_nm", "number", "width_edit", "nm", width=60),
        ),
        spacing=4,
    )


def _pixels(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    return u.create_column(
        _row(
            u,
            *entry("Pixel size", "model.pixel_size_nm", "number", "pixel_edit", "nm", width=60),
            *entry("dwell", "model.dwell_us", "number", "dwell_edit", "µs", width=60),
        ),
        _row(
            u,
            *entry("Frames", "model.frames", "whole", "frames_edit", width=52),
            u.create_label(text="order"),
            u.create_combo_box(
                items=[order.capitalize() for order in ORDERS],
                current_index="@binding(model.order_index.value)",
                name="order_combo",
            ),
        ),
        spacing=4,
    )


def _advanced(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    return u.create_column(
        _row(
            u,
            *entry("Probe current", "model.current_pa", "number", "current_edit", "pA", width=60),
            _button(u, "Read", "current", "Take the current of the instrument again"),
        ),
        _row(
            u,
            *entry("Flyback", "model.flyback_us", "number", "flyback_edit", "µs", width=52),
            *entry("scan engine", "model.scan_overhead_s", "number", "scan_overhead_edit", "s (0: measured)", width=44),
        ),
        _row(
            u,
            *entry("Sub-pixels", "model.subpixels", "whole", "subpixels_edit", "along each side", width=36),
            *entry("seed", "model.seed", "whole", "seed_edit", width=44),
        ),
        _row(
            u,
            *entry("Virgin areas", "model.areas", "whole", "areas_edit", width=36),
            *entry("gap", "model.area_gap_nm", "number", "gap_edit", "nm", width=52),
        ),
        _row(u, *entry("Spectrum moves by", "model.energy_step_ev", "number", "energy_edit", "eV per frame", width=52)),
        spacing=4,
    )


def _costs(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    return u.create_column(
        u.create_label(text="@binding(model.figures.value)", name="figures_label", word_wrap=True),
        _row(
            u,
            u.create_label(text="X-rays"),
            u.create_line_edit(
                text="@binding(model.xray_lines.value)",
                name="xray_edit",
                width=190,
                placeholder_text="Ag:0.3:0.22 Sn:0.62:0.14",
                tool_tip="NAME:SPACING:COUNTS, the distance of columns in nm and the counts for a million electrons; "
                "several with spaces",
            ),
            *entry("motifs", "model.motifs", "whole", "motifs_edit", width=44),
        ),
        u.create_label(text="@binding(model.xrays.value)", name="xrays_label", word_wrap=True),
        u.create_label(text="@binding(model.so_far.value)", name="so_far_label", word_wrap=True),
        u.create_label(text="Budget (0: none)"),
        _row(
            u,
            *entry("Dose", "model.total_dose", "number", "total_dose_edit", "e/Å²", width=64),
            *entry("rate", "model.dose_rate", "number", "dose_rate_edit", "e/Å²/s", width=64),
        ),
        _row(u, *entry("Pixel charge", "model.pixel_charge_e", "number", "pixel_charge_edit", "e", width=64)),
        u.create_label(text="@binding(model.warning.value)", name="warning_label", word_wrap=True),
        _row(
            u,
            u.create_label(text="Reason"),
            u.create_line_edit(text="@binding(model.override_reason.value)", name="reason_edit", width=150),
            _button(u, "Override", "override"),
            visible="@binding(model.is_too_much.value)",
        ),
        spacing=4,
    )


def _live(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    tip = "NAME:START-STOP, then :BACKGROUND before an edge, or :BEFORE+BEHIND a line; in eV, several with spaces"
    return u.create_column(
        _row(
            u,
            u.create_check_box(
                text="Place each frame and add it up", checked="@binding(live.is_on.value)", name="live_box"
            ),
            u.create_check_box(
                text="Follow the drift",
                checked="@binding(live.follows_drift.value)",
                name="follow_box",
                tool_tip="Move the scan of the next frame along with the specimen; stored with each frame",
            ),
        ),
        _row(
            u,
            u.create_label(text="Maps"),
            u.create_line_edit(text="@binding(live.maps.value)", name="maps_edit", width=260, tool_tip=tip),
        ),
        u.create_label(text="Enough at (0: go on)"),
        _row(
            u,
            *entry("SNR", "live.snr", "number", "stop_snr_edit", width=44),
            *entry("of each map, components", "live.components", "whole", "stop_components_edit", width=36),
        ),
        _row(
            u,
            *entry("Dose", "live.total_dose", "number", "stop_dose_edit", "e/Å²", width=64),
            *entry("drift", "live.drift_nm", "number", "stop_drift_edit", "nm", width=44),
        ),
        u.create_label(text="@binding(live.text.value)", name="live_label", word_wrap=True, min_height=3 * LINE),
        u.create_label(text="@binding(live.pace.value)", name="pace_label", word_wrap=True, min_height=3 * LINE),
        spacing=4,
    )


def _end(u: Declarative.DeclarativeUI) -> Any:
    entry = functools.partial(layout.entry, u)
    text = u.create_line_edit
    return u.create_column(
        u.create_label(text="The beam is blanked between frames and at the end.", word_wrap=True),
        _row(
            u,
            u.create_check_box(
                text="Drop the magnification 10,000 times",
                checked="@binding(model.after.drop_magnification.value)",
                name="drop_box",
            ),
        ),
        _row(
            u,
            u.create_label(text="Mail to"),
            text(text="@binding(model.after.mail_to.value)", name="mail_to_edit", width=200),
        ),
        _row(
            u,
            u.create_label(text="Server"),
            text(text="@binding(model.after.mail_server.value)", name="mail_server_edit", width=150),
            *entry("port", "model.after.mail_port", "whole", "mail_port_edit", width=44),
        ),
        _row(
            u,
            u.create_label(text="User"),
            text(text="@binding(model.after.mail_user.value)", name="mail_user_edit", width=110),
            u.create_label(text="password"),
            text(
                text="@binding(model.after.mail_password.value)",
                name="mail_password_edit",
                width=90,
                tool_tip="Sent over TLS only; never stored, shown only while you type it",
            ),
        ),
        _row(
            u,
            u.create_label(text="Script"),
            text(text="@binding(model.after.script.value)", name="script_edit", width=200),
            _button(u, "Choose...", "script"),
        ),
        spacing=4,
    )


def _run(u: Declarative.DeclarativeUI) -> Any:
    return u.create_column(
        u.create_row(
            _button(u, "Acquire", "acquire", "Acquire the frames; again: append as many to the same region"),
            _button(u, "Abort", "abort", enabled="is_running"),
            u.create_progress_bar(value="@binding(progress.value)", width=150, name="progress_bar"),
            u.create_stretch(),
            spacing=6,
        ),
        u.create_label(text="@binding(message.value)", name="message_label", word_wrap=True, min_height=3 * LINE),
        spacing=4,
        margin=6,
    )
