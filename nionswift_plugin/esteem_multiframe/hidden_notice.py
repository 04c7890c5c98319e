"""A notice with a button, while a series goes on behind a hidden panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nion.swift.model import Notification
from nion.ui import Declarative
from nion.utils import Model, Registry


class HiddenNotice(Notification.Notification):
    """Says what the panel would say, can show it again, and can abort.

    Parameters
    ----------
    title : str
        Name of the panel.
    message : PropertyModel of str
        What the panel says.
    show, abort : callable
        Shows the panel; stops the series. Both return at once.
    """

    def __init__(
        self, title: str, message: Model.PropertyModel[str], show: Callable[[], None], abort: Callable[[], None]
    ) -> None:
        super().__init__("esteem.multiframe", "Esteem", title, "The series goes on while its panel is hidden.")
        self.message, self.show, self.abort = message, show, abort


class HiddenNoticeHandler(Declarative.Handler):
    """The notice as Nion's list of notifications shows it."""

    def __init__(self, notice: HiddenNotice) -> None:
        super().__init__()
        self.notice = notice
        u = Declarative.DeclarativeUI()
        self.ui_view = u.create_column(
            u.create_label(text="@binding(notice.title)", font="bold"),
            u.create_label(text="@binding(notice.text)", word_wrap=True, width=440),
            u.create_label(text="@binding(notice.message.value)", word_wrap=True, width=440, name="message_label"),
            u.create_row(
                u.create_stretch(),
                u.create_push_button(text="Show panel", on_clicked="show_clicked", name="show_button"),
                u.create_push_button(text="Abort", on_clicked="abort_clicked", name="abort_button"),
                spacing=8,
            ),
            u.create_divider(orientation="horizontal"),
            spacing=4,
        )

    def show_clicked(self, widget: Any) -> None:
        """Show the panel."""
        self.notice.show()

    def abort_clicked(self, widget: Any) -> None:
        """Stop the series."""
        self.notice.abort()


class _Factory:
    """What Nion asks how a notification looks."""

    def make_component(self, app: Any, notification: Notification.Notification) -> HiddenNoticeHandler | None:
        """Return the look of a `HiddenNotice`; None for other notifications."""
        return HiddenNoticeHandler(notification) if isinstance(notification, HiddenNotice) else None


_factory = _Factory()


def register() -> None:
    """Let Nion ask; once."""
    Registry.register_component(_factory, {"notification-component-factory"})


def unregister() -> None:
    """Undo `register`."""
    Registry.unregister_component(_factory, {"notification-component-factory"})
