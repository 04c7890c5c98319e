"""The menu of Esteem: every plug-in adds its commands, one file each."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from nion.swift import Application

MENU_ID, MENU_TITLE = "esteem_menu", "Esteem"


@dataclasses.dataclass(frozen=True)
class Command:
    """An entry of the menu.

    Attributes
    ----------
    title : str
        What the menu says.
    action : callable
        Called with the window (Nion's document controller) in which it was chosen.
    """

    title: str
    action: Callable[[Any], None]


_commands: dict[str, Command] = {}
_handlers: list[Callable[[Any], None]] = []


def load(package: str) -> None:
    """Take in the commands of a plug-in: the ``COMMAND`` of every module in its folder ``commands``.

    Parameters
    ----------
    package : str
        Name of the plug-in's package, ``__package__``.
    """
    folder = importlib.import_module(f"{package}.commands")
    for found in pkgutil.iter_modules(folder.__path__):
        command = importlib.import_module(f"{folder.__name__}.{found.name}").COMMAND
        _commands[command.title] = command


def commands() -> tuple[Command, ...]:
    """Return all commands, by title."""
    return tuple(_commands[title] for title in sorted(_commands))


def install() -> None:
    """Add the menu to all windows, present and future."""
    app = Application.app
    if app is not None and not _handlers:
        _handlers.append(app.register_menu_handler(_build))


def remove() -> None:
    """Add the menu to no more windows."""
    while _handlers:
        Application.app.unregister_menu_handler(_handlers.pop())


def _build(window: Any) -> None:
    if not commands():
        return
    menu = window.get_or_create_menu(MENU_ID, MENU_TITLE, "window_menu")
    for command in commands():
        menu.add_menu_item(command.title, functools.partial(command.action, window))
