"""What is done at the end of a series, as the user types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nion.utils import Model

from esteemcore import multiframe
from nionswift_plugin.esteem_multiframe.ranges import Kept
from nionswift_plugin.esteem_multiframe.series import Afterwards
from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls

DOT = "\N{BULLET}"
"""Shown instead of a password."""


class AfterwardsModel:
    """Values of the part *At the end*, each a property model.

    The password is in memory only, and shown only while it is typed.

    Attributes
    ----------
    drop_magnification : PropertyModel
    mail_to, mail_server, mail_port, mail_user : PropertyModel
        See `esteemcore.multiframe.MailSettings`.
    mail_password : PropertyModel
        As typed; dots as soon as it was taken.
    script : PropertyModel
        Path, or empty.
    """

    def __init__(self, calls: UserInterfaceCalls, say: Callable[[str], None]) -> None:
        self.drop_magnification = Model.PropertyModel(False)
        self.mail_to = Model.PropertyModel("")
        self.mail_server = Model.PropertyModel("")
        self.mail_port = Model.PropertyModel(25)
        Kept("mail_port", self.mail_port, calls, say)
        self.mail_user = Model.PropertyModel("")
        self.mail_password = Model.PropertyModel("")
        self.mail_password.on_value_changed = self._take_password
        self.script = Model.PropertyModel("")
        self._calls, self._password = calls, ""

    def _take_password(self, typed: str | None) -> None:
        text = typed or ""
        shown = 8 * DOT
        if text == shown:
            return
        self._password = text.replace(DOT, "")
        self.mail_password.value = shown if self._password else ""
        self._calls.later(lambda: self.mail_password.notify_property_changed("value"))  # the edit shows what was typed

    @property
    def value(self) -> Afterwards:
        """What is done at the end.

        Raises
        ------
        ParameterError
            If there can be no such mail.
        """
        mail, script = None, (self.script.value or "").strip()
        to = (self.mail_to.value or "").strip()
        if to:
            mail = multiframe.MailSettings(
                to,
                (self.mail_server.value or "").strip(),
                self.mail_port.value or 0,
                user=(self.mail_user.value or "").strip(),
                password=self._password,
            )
        return Afterwards(bool(self.drop_magnification.value), mail, Path(script) if script else None)
