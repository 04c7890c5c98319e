"""What is done when a series has ended: a mail to the operator, a script of the user. Neither can harm the data."""

from __future__ import annotations

import dataclasses
import email.message
import runpy
import smtplib
import ssl
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.acquire import SeriesResult

TIMEOUT_S = 20.0
"""How long a mail server may keep us waiting."""
TLS_PORT = 465
"""Where a mail server speaks TLS from the start."""


@dataclasses.dataclass(frozen=True)
class MailSettings:
    """Whom to tell, and through which server.

    Attributes
    ----------
    to : str
        Address of the operator.
    server : str
        Name of the mail server (SMTP).
    port : int
        587 and 25 begin in the clear and turn to TLS where the server can; 465 is TLS from the start.
    sender : str
        Address of the microscope; that of the operator if empty.
    user, password : str
        Empty for a server that asks for none. A password is sent over TLS only.
    """

    to: str
    server: str
    port: int = 25
    sender: str = ""
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)

    def __post_init__(self) -> None:
        for name in ("to", "sender"):
            address = getattr(self, name)
            if (address or name == "to") and ("@" not in address or any(c.isspace() for c in address)):
                raise ParameterError(f"{address!r} is no mail address")
        if not self.server.strip():
            raise ParameterError("name the mail server, for example smtp.example.org")
        for name in ("user", "password"):
            if not getattr(self, name).isascii():  # never with the text: it may be shown
                raise ParameterError(
                    f"the {name} for the mail server has letters beyond ASCII, which it cannot be told"
                )
        object.__setattr__(self, "port", checks.integer("port", self.port, minimum=1, maximum=65535))


def send_mail(settings: MailSettings, subject: str, text: str) -> str:
    """Send a mail; never raises.

    Parameters
    ----------
    settings : MailSettings
    subject, text : str

    Returns
    -------
    str
        What went wrong, in words; empty if the server took it.
    """
    message = email.message.EmailMessage()
    try:
        message["Subject"] = " ".join(subject.split())
        message["From"], message["To"] = settings.sender or settings.to, settings.to
        message.set_content(text)
        with _connected(settings) as server:
            server.ehlo_or_helo_if_needed()
            if settings.port != TLS_PORT and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
            elif settings.password and settings.port != TLS_PORT:
                return f"the mail was not sent: {settings.server} offers no encryption for the password"
            if settings.user:
                server.login(settings.user, settings.password)
            server.send_message(message)
    except Exception as error:
        return f"the mail was not sent ({settings.server}:{settings.port}: {error or type(error).__name__})"
    return ""


def _connected(settings: MailSettings) -> smtplib.SMTP:
    """Return a connection, with TLS if the port has it; the certificate of the server is verified."""
    if settings.port == TLS_PORT:
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(settings.server, settings.port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(settings.server, settings.port, timeout=TIMEOUT_S)


def run_script(path: str | Path, results: Sequence[SeriesResult]) -> str:
    """Run a Python script of the user, which finds ``results`` (one per area) as a variable; never raises.

    Parameters
    ----------
    path : str or Path
    results : sequence of SeriesResult

    Returns
    -------
    str
        What went wrong, with the line of the script; empty if it ran to its end.
    """
    script = Path(path).expanduser()
    if not script.is_file():
        return f"the script {script} does not exist"
    try:
        runpy.run_path(str(script), init_globals={"results": tuple(results)}, run_name="__main__")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # of who runs us
        if isinstance(error, SystemExit) and not error.code:
            return ""
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(script)]
        line = f", line {frames[-1].lineno}" if frames else ""
        return f"the script {script.name}{line} failed ({type(error).__name__}: {error}); the frames are safe"
    return ""
