"""From the thread of a run to the window."""

from __future__ import annotations

from typing import Any, Protocol

from nionswift_plugin.esteem_live4d.session import LiveSession, Update
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls


class Handler(Protocol):
    """What the watcher tells, on the thread of the user interface."""

    message: Any

    @property
    def is_busy(self) -> bool:
        """Whether a run goes on."""

    def show(self, update: Update, session: LiveSession) -> None:
        """Show a set of images."""

    def end(self, message: str, session: LiveSession) -> None:
        """Show how a run has ended."""


class WindowWatcher:
    """Brings what a run says to the thread of the user interface.

    Parameters
    ----------
    handler : Handler
    calls : UserInterfaceCalls

    Attributes
    ----------
    session : LiveSession or None
        The run that is watched.
    """

    def __init__(self, handler: Handler, calls: UserInterfaceCalls) -> None:
        self.session: LiveSession | None = None
        self._handler, self._calls = handler, calls

    def updated(self, update: Update) -> None:
        """Take a set of images."""
        session = self.session
        if session is not None:
            self._calls.newest("images", lambda: self._handler.show(update, session))

    def said(self, message: str) -> None:
        """Take a message in words."""
        self._calls.newest("message", lambda: self._say(message))

    def ended(self, message: str) -> None:
        """Take the last message."""
        session = self.session
        if session is not None:
            self._calls.later(lambda: self._handler.end(message, session))

    def _say(self, message: str) -> None:
        if self._handler.is_busy:
            self._handler.message.value = message
