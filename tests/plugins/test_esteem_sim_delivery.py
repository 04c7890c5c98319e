"""Every frame that was charged reaches the sink, whatever ends the acquisition, and no beam comes after the end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from esteem_sim.camera import OneBitCamera

from esteemcore import scan
from nionswift_plugin.esteem_scan.scan_plan import synchronized

SHAPE = (50, 50)


def charged_frames(microscope: Any) -> float:
    """Return the ledger's charge in frames; the plans below blank the beam between positions."""
    instrument = microscope.instrument
    return float(instrument.ledger.total_charge_e / scan.charge_e(instrument.current_pa, 80e-6))


def prepared(microscope: Any, shape: tuple[int, int] = SHAPE) -> tuple[Any, Any]:
    parameters, _ = synchronized(microscope.parameters(shape, pattern="shuffled", blank="positions"))
    return parameters, microscope.sink(parameters)


def grab_in_thread(microscope: Any, parameters: Any, sink: Any) -> tuple[threading.Thread, list[Exception]]:
    errors: list[Exception] = []
    thread = threading.Thread(target=lambda: errors.extend(microscope.grab(parameters, sink)))
    thread.start()
    return thread, errors


def abort_in_time(microscope: Any, thread: threading.Thread) -> None:
    """Abort as soon as Nion has something to abort: on a busy computer that takes longer than usual."""
    while thread.is_alive():
        try:
            microscope.scan_source.grab_synchronized_abort()
        except AttributeError:
            time.sleep(0.01)
        else:
            return


def assert_delivered(microscope: Any, sink: Any) -> None:
    """The sink has exactly what the ledger was charged for, and the beam is off."""
    assert sink.frames == pytest.approx(charged_frames(microscope), abs=1e-6)
    assert (sink.visits <= 1).all()
    if sink.frames:
        assert sink.arrays["camera"][0][sink.visits[0] > 0].any(axis=(1, 2)).all(), "a frame without electrons"
    assert microscope.instrument.is_blanked
    assert not microscope.device.is_scanning


# failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["camera_at", "scan_at"])
@pytest.mark.parametrize(("at", "is_paced"), [(1, True), (513, False), (1400, True), (2499, True)])
def test_a_failure_loses_no_frame(microscope: Any, device: str, at: int, is_paced: bool) -> None:
    microscope.camera.is_paced = is_paced
    setattr(microscope.instrument.faults, device, at)
    parameters, sink = prepared(microscope)
    errors = microscope.grab(parameters, sink)
    assert_delivered(microscope, sink)
    if errors:
        assert sink.frames >= at
        (entry,) = microscope.instrument.ledger.entries
        assert entry.kind == ("spoiled" if sink.frames < 2500 else "acquisition")
        assert all(
            "scan device: " in str(error) for error in errors if device == "scan_at" and "grab" not in str(error)
        )
    else:  # the camera was gone when all was done
        assert device == "camera_at"
        assert at > 2000
        assert sink.frames == 2500


def test_the_reason_of_the_scan_device_reaches_the_error_handler(microscope: Any) -> None:
    microscope.instrument.faults.scan_at = 200
    parameters, sink = prepared(microscope)
    errors = microscope.grab(parameters, sink)
    assert str(errors[0]).startswith("scan device: the scan device stopped (after ")
    assert "scan device: " in microscope.instrument.last_safe_state.reason or sink.frames
    assert_delivered(microscope, sink)


def test_a_scan_that_fails_before_the_first_frame_says_why_at_once(microscope: Any) -> None:
    microscope.instrument.faults.scan_at = 0
    began = time.monotonic()
    parameters, sink = prepared(microscope)
    errors = microscope.grab(parameters, sink)
    assert time.monotonic() - began < 15, "nobody waits for a scan that has failed"
    # the camera may draw the first positions before the scan device is asked
    assert re.search(r"scan device: the scan device stopped \(after \d positions\)", str(errors[0]))
    assert_delivered(microscope, sink)


# aborts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.05, 0.1, 0.15, 0.2])
@pytest.mark.parametrize("is_paced", [True, False])
def test_an_abort_by_another_thread_loses_no_frame(microscope: Any, delay_s: float, is_paced: bool) -> None:
    microscope.camera.is_paced = is_paced
    parameters, sink = prepared(microscope, (100, 100))
    thread, errors = grab_in_thread(microscope, parameters, sink)
    time.sleep(delay_s)
    abort_in_time(microscope, thread)
    thread.join(60)
    assert errors == []
    assert_delivered(microscope, sink)


@pytest.mark.parametrize("after", [1, 700])
def test_an_abort_by_the_sink_loses_no_frame(microscope: Any, after: int) -> None:
    parameters, sink = prepared(microscope)
    sink.on_frames = lambda frames: microscope.scan_source.grab_synchronized_abort() if frames >= after else None
    assert microscope.grab(parameters, sink) == []
    assert_delivered(microscope, sink)


@pytest.mark.parametrize("is_paced", [True, False])
def test_an_abort_after_the_last_frame_was_drawn_loses_no_frame(
    microscope: Any, is_paced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    microscope.camera.is_paced = is_paced
    all_drawn = threading.Event()
    resume = OneBitCamera.acquire_synchronized_continue

    def watched(self: OneBitCamera, **options: Any) -> Any:
        partial = resume(self, **options)
        if partial.is_complete:
            all_drawn.set()
            time.sleep(0.05)  # the abort comes while the last frames are on their way
        return partial

    monkeypatch.setattr(OneBitCamera, "acquire_synchronized_continue", watched)
    parameters, sink = prepared(microscope)
    thread, errors = grab_in_thread(microscope, parameters, sink)
    assert all_drawn.wait(60)
    microscope.scan_source.grab_synchronized_abort()
    thread.join(60)
    assert errors == []
    assert sink.frames == 2500
    assert_delivered(microscope, sink)


@pytest.mark.usefixtures("waiting_for_devices")
@pytest.mark.parametrize("delay_s", [0.0, 0.4])
def test_the_safe_state_stops_an_acquisition_that_is_being_prepared(microscope: Any, delay_s: float) -> None:
    instrument = microscope.instrument
    parameters, sink = prepared(microscope)
    is_prepared = threading.Event()
    prepare = microscope.device.prepare_synchronized_scan

    def watched(*arguments: Any, **options: Any) -> None:
        prepare(*arguments, **options)
        is_prepared.set()

    microscope.device.prepare_synchronized_scan = watched
    thread, errors = grab_in_thread(microscope, parameters, sink)
    assert is_prepared.wait(60)
    time.sleep(delay_s)
    instrument.safe_state("the user has changed his mind")
    thread.join(60)
    assert sink.frames == 0
    assert charged_frames(microscope) == 0
    assert any("the user has changed his mind" in str(error) for error in errors)
    assert_delivered(microscope, sink)
    # and it holds for that one only
    microscope.camera.is_paced = False
    sink = microscope.sink(parameters)
    assert microscope.grab(parameters, sink) == []
    assert sink.frames == 2500


def test_a_safe_state_of_before_stops_nothing(microscope: Any) -> None:
    microscope.camera.is_paced = False
    microscope.instrument.safe_state("lunch")
    parameters, sink = prepared(microscope)
    assert microscope.grab(parameters, sink) == []
    assert sink.frames == 2500
    assert_delivered(microscope, sink)


def test_the_safe_state_in_the_middle_loses_no_frame(microscope: Any) -> None:
    parameters, sink = prepared(microscope, (100, 100))
    stopped: list[int] = []

    def stop(frames: int) -> None:
        if not stopped:
            stopped.append(frames)
            microscope.instrument.safe_state("smoke")

    sink.on_frames = stop
    errors = microscope.grab(parameters, sink)
    assert "the scan was aborted" in str(errors[0])
    assert_delivered(microscope, sink)


# waiting for the specimen -----------------------------------------------------------------------------------------


@pytest.fixture
def slow_scene(microscope: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """New optics whose patterns are ready only when the returned function is called."""
    from esteem_sim import specimen_stage

    go_on, make = threading.Event(), specimen_stage.make_scene

    def slow(specimen: Any, beam: Any, cancel: Any, progress: Any, **options: Any) -> Any:
        progress(0.4)
        while not go_on.wait(0.01):
            if cancel.is_set():
                break
        return make(specimen, beam, cancel, progress, **options)

    monkeypatch.setattr(specimen_stage, "make_scene", slow)
    microscope.instrument.controls.set_value("C10", -7e-9)
    return go_on.set


def test_a_wait_longer_than_nion_waits_for_rows_is_no_failure(
    microscope: Any, slow_scene: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nion.instrumentation import scan_base

    monkeypatch.setattr(scan_base, "SYNCHRONIZED_SCAN_TIMEOUT", 0.1)
    parameters, sink = prepared(microscope, (16, 16))
    thread, errors = grab_in_thread(microscope, parameters, sink)
    time.sleep(1.5)
    microscope.until(lambda: microscope.instrument.stage.status.endswith("15 mrad: 40 %"))
    assert microscope.instrument.is_blanked
    slow_scene()
    thread.join(60)
    assert errors == []
    assert sink.frames == 256


@pytest.mark.parametrize("stop", ["abort", "safe state"])
def test_the_wait_for_the_specimen_can_be_ended(microscope: Any, slow_scene: Callable[[], None], stop: str) -> None:
    parameters, sink = prepared(microscope, (16, 16))
    thread, _ = grab_in_thread(microscope, parameters, sink)
    time.sleep(1.0)
    assert thread.is_alive()
    if stop == "abort":
        microscope.scan_source.grab_synchronized_abort()
    else:
        microscope.instrument.safe_state("enough")
    thread.join(60)
    assert not thread.is_alive(), "it waited on"
    assert sink.frames == 0
    assert_delivered(microscope, sink)
    slow_scene()


def test_a_sequence_lets_the_beam_on_with_its_first_frame_only(microscope: Any, slow_scene: Callable[[], None]) -> None:
    camera = microscope.camera
    camera.acquire_sequence_begin(microscope.camera_parameters(), 5000)
    camera.acquire_sequence_continue(update_period=0.02)
    assert microscope.instrument.is_blanked, "there is nothing to see yet"
    slow_scene()
    microscope.instrument.stage.wait()
    assert camera.acquire_sequence_continue(update_period=0.02).valid_count > 0
    assert not microscope.instrument.is_blanked
    camera.acquire_sequence_end()
    assert microscope.instrument.is_blanked
    assert set(microscope.instrument.ledger.totals) == {"camera sequence"}
