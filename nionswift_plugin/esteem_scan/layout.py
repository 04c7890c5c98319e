"""Rows of a panel, so that all panels look alike."""

from __future__ import annotations

from typing import Any

from nion.ui import Declarative

LABEL = 52
"""Width of the labels at the left."""


def entry(
    u: Declarative.DeclarativeUI, label: str, model: str, converter: str, name: str, unit: str = "", width: int = 60
) -> list[Any]:
    """Return label, line edit and unit of a value.

    Parameters
    ----------
    u : DeclarativeUI
    label, unit : str
        Words before and behind.
    model : str
        Path of the property model from the handler.
    converter : str
        Attribute of the handler.
    name : str
        Attribute of the handler that will be the widget.
    width : int
    """
    text = f"@binding({model}.value, converter={converter})"
    parts = [u.create_label(text=label)] if label else []
    parts.append(u.create_line_edit(text=text, name=name, width=width))
    return [*parts, u.create_label(text=unit)] if unit else parts


def combo(u: Declarative.DeclarativeUI, label: str, model: str, name: str) -> Any:
    """Return a row with a label and a combo box of ``<model>_names`` and ``<model>_index``."""
    return u.create_row(
        u.create_label(text=label, width=LABEL),
        u.create_combo_box(
            items_ref=f"@binding({model}_names.value)", current_index=f"@binding({model}_index.value)", name=name
        ),
        u.create_stretch(),
        spacing=6,
    )
