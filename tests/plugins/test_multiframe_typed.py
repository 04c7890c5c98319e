"""What is typed into the multi-frame panel: what cannot be meant is not taken, and a password is shown to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from multiframe_bench import Bench, opened


@pytest.fixture
def bench(shared_microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    with opened(shared_microscope, tmp_path / "session") as made:
        yield made


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dwell_us", 1e-9, "dwell 1e-09 µs is out of range (0.01 to 1e+08 µs); 10 µs stays"),
        ("dwell_us", None, "dwell is no number; 10 µs stays"),
        ("subpixels", 99, "sub-pixels along each side 99 is out of range (1 to 32); 1 stays"),
        ("frames", 0, "frames 0 is out of range (1 to 1e+06); 3 stays"),
        ("total_dose", -1.0, "dose -1 e/Å² is out of range"),
        ("current_pa", -5.0, "probe current -5 pA is out of range"),
    ],
)
def test_what_cannot_be_meant_is_not_taken(bench: Bench, name: str, value: Any, words: str) -> None:
    model, plan = getattr(bench.model, name), bench.model.plan
    before, model.value = model.value, value
    assert words in bench.handler.message.value
    assert bench.handler.message.value.startswith("Not taken: ")
    assert model.value == before
    bench.settle()
    assert bench.model.plan == plan
    assert bench.model.warning.value == ""


def test_goals_and_port_that_cannot_be_meant_are_not_taken(bench: Bench) -> None:
    live, after = bench.handler.live, bench.model.after
    for model, value, words in (
        (live.snr, -3.0, "SNR -3 is out of range (0 to 1e+06); 0 stays"),
        (live.drift_nm, None, "drift is no number; 0 nm stays"),
        (live.components, 1000, "components 1,000 is out of range"),
        (after.mail_port, 0, "port 0 is out of range (1 to 65,535); 25 stays"),
    ):
        before, model.value = model.value, value
        assert words in bench.handler.message.value
        assert model.value == before


def test_a_password_is_shown_to_nobody(bench: Bench) -> None:
    after = bench.model.after
    after.mail_to.value, after.mail_server.value, after.mail_user.value = "me@here", "127.0.0.1", "me"
    after.mail_password.value = "a secret"
    assert after.mail_password.value == 8 * "\N{BULLET}"
    mail = after.value.mail
    assert (mail.user, mail.password) == ("me", "a secret")
    assert "secret" not in repr(mail) + repr(after.value)
    after.mail_password.value = ""
    assert after.value.mail.password == ""
