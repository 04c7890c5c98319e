"""What the user is told outside of a panel, in Nion Swift's window of notifications."""

from __future__ import annotations

from nion.swift.model import Notification


def tell(title: str, text: str) -> None:
    """Show a notice; from any thread.

    Parameters
    ----------
    title : str
        What this is about, such as the name of a file.
    text : str
        What happened, and what to do.
    """
    Notification.notify(Notification.Notification("esteem.notice", "Esteem", title, text))
