"""Stop whichever panel of Esteem is acquiring, also one that is hidden."""

from __future__ import annotations

from typing import Any

from nion.swift.model import Notification

from nionswift_plugin.esteem_scan.acquisition_lock import LOCK
from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Stop Acquisition"


def _stop(window: Any) -> None:
    if LOCK.stop() is None:
        Notification.notify(
            Notification.Notification("esteem.acquisition", "Esteem", TITLE, "No panel of Esteem is acquiring.")
        )


COMMAND = Command(TITLE, _stop)
