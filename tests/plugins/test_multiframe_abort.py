"""Abort at any moment, and a panel that is hidden: the beam is safe, the user is told once and calmly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from multiframe_bench import Bench, opened
from nion.swift.model import Notification

from esteemcore import multiframe
from nionswift_plugin.esteem_multiframe import hidden_notice
from nionswift_plugin.esteem_scan.acquisition_lock import LOCK
from nionswift_plugin.esteem_scan.commands import stop_acquisition

EELS = "Esteem EELS Camera"


@pytest.fixture
def bench(shared_microscope: Any, tmp_path: Path) -> Iterator[Bench]:
    shared_microscope.configuration.eels.is_paced = False
    with opened(shared_microscope, tmp_path / "session") as made:
        made.model.dwell_us.value, made.model.frames.value = 250.0, 1000
        made.model.height_nm.value = 0.8
        made.settle()
        yield made


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Nion Swift shows in its list of notifications meanwhile."""
    shown: list[Any] = []
    monkeypatch.setattr(Notification, "notify", shown.append)
    return shown


@pytest.mark.usefixtures("waiting_for_devices")
@pytest.mark.parametrize(("camera", "delay_s"), [("", 0.0), (EELS, 0.0), (EELS, 0.2), (EELS, 0.5)])
def test_an_abort_between_frames_is_told_once(bench: Bench, notices: list[Any], camera: str, delay_s: float) -> None:
    bench.choose("HAADF", camera)
    instrument = bench.microscope.instrument
    charge: list[float] = []

    def on_frame(frame: multiframe.AcquiredFrame) -> None:
        if frame.done == 1:
            charge.append(sum(instrument.ledger.totals.values()))
            threading.Timer(delay_s, bench.handler.run.abort).start() if delay_s else bench.handler.run.abort()

    bench.handler.on_frame = on_frame
    message = bench.acquire()
    assert message.startswith("Stopped by the user; "), message
    assert [notice.text for notice in notices] == []
    assert instrument.is_blanked
    assert bench.region.count >= 1
    if not delay_s:
        assert bench.region.count == 1
        assert sum(instrument.ledger.totals.values()) == charge[0]  # the next frame had no electron
    bench.handler.on_frame, bench.model.frames.value = None, 1
    bench.settle()
    assert bench.acquire().startswith("Done: 1 of 1"), bench.handler.message.value


def test_a_hidden_panel_goes_on_and_says_so(bench: Bench, notices: list[Any]) -> None:
    handler = bench.handler
    handler.set_hidden(True)
    assert notices == []  # nothing goes on
    handler.set_hidden(False)
    handler.acquire_button.on_clicked()
    bench.until(lambda: bench.region is not None and bench.region.count >= 1)
    handler.set_hidden(True)
    (notice,) = notices
    assert isinstance(notice, hidden_notice.HiddenNotice)
    assert "goes on while its panel is hidden" in notice.text
    dismissed: list[bool] = []
    listener = notice.dismiss_event.listen(lambda: dismissed.append(True))
    handler.set_hidden(False)
    assert dismissed == [True]
    handler.set_hidden(True)
    again = notices[1]
    component = hidden_notice._factory.make_component(None, again)
    assert component is not None
    assert hidden_notice._factory.make_component(None, Notification.Notification("a", "b", "c", "d")) is None
    count = bench.region.count
    bench.until(lambda: bench.region.count > count)  # it went on
    assert component.notice.message.value.startswith("Frame ")
    component.abort_clicked(None)
    bench.settle()
    assert handler.message.value.startswith("Stopped by the user"), handler.message.value
    assert len(notices) == 2
    assert handler._notice is None
    listener.close()


def test_the_menu_stops_whoever_acquires(bench: Bench, notices: list[Any]) -> None:
    stop_acquisition.COMMAND.action(bench.window)
    assert [notice.text for notice in notices] == ["No panel of Esteem is acquiring."]
    bench.handler.acquire_button.on_clicked()
    bench.until(lambda: bench.region is not None and bench.region.count >= 1)
    assert LOCK.owner == "Multi-Frame (Esteem)"
    stop_acquisition.COMMAND.action(bench.window)
    bench.settle()
    assert bench.handler.message.value.startswith("Stopped by the user"), bench.handler.message.value
    assert LOCK.stop() is None
    assert len(notices) == 1
