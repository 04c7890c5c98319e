"""What comes after a series: mail to a server on this computer, scripts good and bad; nothing of it raises."""

from __future__ import annotations

import base64
import contextlib
import email
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from esteemcore import multiframe
from esteemcore.errors import ParameterError

USER = base64.b64encode(b"\0me\0secret")
"""Log-in in the words of SMTP: user and password."""


class FakeServer(socketserver.TCPServer):
    """An SMTP server that keeps what it gets; with a certificate it wants TLS and the log-in of `USER`."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeSession)
        self.mails: list[bytes] = []
        self.refuses = False
        self.said: list[bytes] = []
        self.tls: ssl.SSLContext | None = None
        self.is_tls_first = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


class FakeSession(socketserver.StreamRequestHandler):
    def encrypt(self) -> None:
        assert isinstance(self.server, FakeServer)
        assert self.server.tls is not None
        self.rfile.close()
        self.wfile.close()
        self.request = self.server.tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.setup()
        self.request.do_handshake()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def handle(self) -> None:
        assert isinstance(self.server, FakeServer)
        is_safe = self.server.is_tls_first
        if is_safe:
            self.encrypt()
        self.wfile.write(b"220 fake\r\n")
        while line := self.rfile.readline():
            self.server.said.append(line.strip())
            word = line[:4].upper()
            if word == b"EHLO" and self.server.tls is not None:
                offered = b"AUTH PLAIN" if is_safe else b"STARTTLS"
                self.wfile.write(b"250-fake\r\n250 " + offered + b"\r\n")
            elif word == b"STAR":
                self.wfile.write(b"220 go on\r\n")
                self.encrypt()
                is_safe = True
            elif word == b"AUTH":
                self.wfile.write(b"235 welcome\r\n" if line.split()[-1] == USER else b"535 who are you\r\n")
            elif word == b"RCPT" and self.server.refuses:
                self.wfile.write(b"550 no such user\r\n")
            elif word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                mail = b""
                while (text := self.rfile.readline()) != b".\r\n":
                    mail += text
                self.server.mails.append(mail)
                self.wfile.write(b"250 taken\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def settings_of(server: FakeServer, **more: str) -> multiframe.MailSettings:
    return multiframe.MailSettings("operator@example.org", "127.0.0.1", server.server_address[1], **more)  # type: ignore[arg-type]


def test_a_mail_arrives(server: FakeServer) -> None:
    said = multiframe.send_mail(settings_of(server), "Series region_001:\n done", "Dose 12 e/Å²")
    assert said == ""
    (mail,) = (email.message_from_bytes(text) for text in server.mails)
    assert mail["To"] == mail["From"] == "operator@example.org"
    assert mail["Subject"] == "Series region_001: done"
    assert mail.get_payload(decode=True).decode() == "Dose 12 e/Å²\r\n"


def test_a_password_never_goes_in_the_clear(server: FakeServer) -> None:
    said = multiframe.send_mail(settings_of(server, user="me", password="secret"), "a", "b")
    assert "no encryption" in said
    assert server.mails == []
    assert not any(b"AUTH" in line or b"secret" in line for line in server.said)
    assert "secret" not in repr(settings_of(server, user="me", password="secret"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this computer, its key in the same file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path / "server.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [*command, "-keyout", str(path), "-out", str(tmp_path / "cert.pem")], check=True, capture_output=True
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.mark.parametrize("is_tls_first", [False, True])
def test_a_password_goes_through_tls(
    server: FakeServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, is_tls_first: bool
) -> None:
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate)
    server.is_tls_first = is_tls_first
    if is_tls_first:
        monkeypatch.setattr("esteemcore.multiframe.after.TLS_PORT", server.server_address[1])
    good, bad = (settings_of(server, user="me", password=word) for word in ("secret", "guess"))
    # nobody vouches for this server: it is told nothing
    said = multiframe.send_mail(good, "a", "b")
    assert "certificate" in said.lower()
    assert not any(line.startswith(b"AUTH") for line in server.said)
    assert server.mails == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    said = multiframe.send_mail(bad, "a", "b")
    assert "who are you" in said
    assert "guess" not in said
    assert multiframe.send_mail(good, "Series", "done") == ""
    assert len(server.mails) == 1


def test_a_refusal_and_an_absent_server_are_said(server: FakeServer) -> None:
    server.refuses = True
    assert "no such user" in multiframe.send_mail(settings_of(server), "a", "b")
    port = server.server_address[1]
    server.server_close()
    said = multiframe.send_mail(multiframe.MailSettings("me@example.org", "127.0.0.1", port), "a", "b")
    assert said.startswith("the mail was not sent (127.0.0.1")


@pytest.mark.parametrize(
    ("to", "server", "port"), [("nobody", "x", 25), ("a b@c", "x", 25), ("a@b", " ", 25), ("a@b", "x", 0)]
)
def test_settings_that_cannot_work_are_refused(to: str, server: str, port: int) -> None:
    with pytest.raises(ParameterError):
        multiframe.MailSettings(to, server, port)


@pytest.mark.parametrize("name", ["user", "password"])
def test_what_a_server_cannot_be_told_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ParameterError, match=f"the {name} for the mail server has letters beyond ASCII") as caught:
        multiframe.MailSettings("a@b.c", "localhost", **{name: "gehe\u00efm"})  # type: ignore[arg-type]
    assert "gehe" not in str(caught.value)
    assert "\u00ef" not in str(caught.value)


def test_a_script_gets_the_results(tmp_path: Path) -> None:
    script = tmp_path / "after.py"
    script.write_text("from pathlib import Path\nPath(__file__).with_suffix('.txt').write_text(repr(results))\n")
    assert multiframe.run_script(script, ()) == ""
    assert (tmp_path / "after.txt").read_text() == "()"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nraise ValueError('oh')", "line 2 failed (ValueError: oh)"),
        ("import sys\nsys.exit(3)", "line 2 failed (SystemExit: 3)"),
        ("x = (", "failed (SyntaxError"),
        ("import sys\nsys.exit(0)", ""),
    ],
)
def test_a_script_that_fails_harms_nothing(tmp_path: Path, text: str, words: str) -> None:
    script = tmp_path / "after.py"
    script.write_text(text)
    said = multiframe.run_script(script, ())
    assert words in said
    assert bool(said) == bool(words)
    assert "does not exist" in multiframe.run_script(tmp_path / "none.py", ())
