"""A recorder whose frames, disk, caller or threads misbehave: nothing hangs, and no good frame is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from series_function import WRITE_FILE, FullDisk, check, known, make, signals

from esteemcore import io
from esteemcore.errors import ParameterError, StreamError
from esteemcore.io import durable

LIMIT_S = 20.0


def in_time(*calls):
    """Run calls in threads of their own and return what each raised; fail if one hangs."""
    raised = [None] * len(calls)

    def run(number, call):
        try:
            call()
        except BaseException as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads), "it hangs"
    return raised


@pytest.fixture
def gate(monkeypatch):
    """A disk that waits until it is told to write."""
    event = threading.Event()

    def slow(path, pieces):
        event.wait(LIMIT_S)
        WRITE_FILE(path, pieces)

    def close():
        monkeypatch.setattr(durable, "write_file", slow)
        return event

    yield close
    event.set()


def opened(path, **more):
    return io.SeriesRecorder(io.SeriesWriter(path, signals()), **more)


def put(recorder, *numbers):
    for number in numbers:
        recorder.put(make(number), **known(number))


def put_until_it_fails(recorder, numbers):
    for number in numbers:
        time.sleep(0.005)
        put(recorder, number)


def test_finish_from_several_threads(tmp_path, gate):
    recorder = opened(tmp_path / "a.esteem")
    event = gate()
    put(recorder, *range(6))
    threading.Timer(0.2, event.set).start()
    assert in_time(*[recorder.finish] * 4) == [None] * 4
    assert recorder.status == io.SeriesStatus(6, 6, 0, 0)
    assert check(tmp_path / "a.esteem", 6) == 6


def test_finish_from_several_threads_after_a_failure(tmp_path, monkeypatch):
    recorder = opened(tmp_path / "a.esteem")
    monkeypatch.setattr(durable, "write_file", FullDisk(2))
    with pytest.raises(StreamError, match="the disk is full"):
        put_until_it_fails(recorder, range(1000))
    taken = recorder.status.taken
    assert all(isinstance(error, StreamError) for error in in_time(*[recorder.finish] * 3))
    assert [frame.known["time_s"] for frame in recorder.unsaved] == [known(n)["time_s"] for n in range(taken)]
    join = threading.Thread.join

    def slow(path, pieces):
        time.sleep(0.002)
        WRITE_FILE(path, pieces)

    def late(thread, timeout=None):
        join(thread, timeout)
        if thread.name == "esteem-series":
            time.sleep(0.05)  # so that all would go on at once if they could

    monkeypatch.setattr(durable, "write_file", slow)
    monkeypatch.setattr(threading.Thread, "join", late)
    assert in_time(*[recorder.finish] * 3) == [None] * 3
    assert check(tmp_path / "a.esteem", taken) == taken


def test_frames_from_many_threads_are_all_stored(tmp_path):
    recorder = opened(tmp_path / "a.esteem")

    def some(first):
        for number in range(first, first + 10):
            recorder.put(make(number), time_s=float(number))

    assert in_time(*(lambda first=first: some(first) for first in (0, 10, 20))) == [None] * 3
    assert in_time(recorder.finish) == [None]
    dataset = io.load(tmp_path / "a.esteem")
    times = dataset.series.time_s
    assert sorted(times) == list(range(30))
    for place, number in enumerate(times):
        np.testing.assert_array_equal(dataset.signals["adf"].data[place], make(int(number))["adf"])


def test_ctrl_c_ends_the_waiting_and_not_the_writing(tmp_path, gate, monkeypatch):
    recorder = opened(tmp_path / "a.esteem")
    event = gate()
    put(recorder, 0, 1, 2)
    join = threading.Thread.join
    presses = iter([True])

    def interrupted(thread, timeout=None):
        if thread.name == "esteem-series" and next(presses, False):
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder.finish()
    assert recorder.status.stored == 0
    event.set()
    assert in_time(recorder.finish) == [None]
    assert check(tmp_path / "a.esteem", 3) == 3


PROGRAM = """
import signal, sys, time
sys.path.insert(0, {folder!r})
import series_function as s
from esteemcore import io
from esteemcore.io import durable

presses = iter([True])

def slow(path, pieces):
    time.sleep(0.02)
    if recorder.status.taken == 8 and next(presses, False):
        signal.raise_signal(signal.SIGINT)
    s.WRITE_FILE(path, pieces)

signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background do not hear it
recorder = io.SeriesRecorder(io.SeriesWriter({path!r}, s.signals()))
durable.write_file = slow
with recorder:
    for number in range(8):
        recorder.put(s.make(number), **s.known(number))
"""


def test_ctrl_c_at_the_end_of_a_program_loses_nothing(tmp_path):
    path = tmp_path / "a.esteem"
    code = PROGRAM.format(folder=str(Path(__file__).parent), path=str(path))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "KeyboardInterrupt" in ended.stderr
    assert check(path, 8) == 8
    assert io.info(path).closed


def test_a_writer_that_somebody_else_closes(tmp_path):
    recorder = opened(tmp_path / "a.esteem")
    put(recorder, 0)
    while recorder.status.stored < 1:
        time.sleep(0.005)
    recorder.writer.close()
    with pytest.raises(StreamError, match="is closed"):
        put_until_it_fails(recorder, range(1, 1000))
    waiting = recorder.status.taken - 1
    (error,) = in_time(recorder.finish)
    assert isinstance(error, StreamError)
    assert len(recorder.unsaved) == waiting > 0
    assert check(tmp_path / "a.esteem", 1) == 1
    with io.SeriesWriter(tmp_path / "a.esteem", append=True) as writer:
        for frame in recorder.unsaved:
            writer.append(frame.values, **frame.known)
    assert check(tmp_path / "a.esteem") == 1 + waiting


def test_memory_is_bounded_when_nobody_stops(tmp_path, monkeypatch):
    size = sum(values.nbytes for values in make(0).values())
    recorder = opened(tmp_path / "a.esteem", memory_bytes=3 * size)
    monkeypatch.setattr(durable, "write_file", FullDisk(0))
    refused = 0
    for number in range(50):
        try:
            put(recorder, number)
        except StreamError as error:
            refused += "is not taken" in str(error)
    status = recorder.status
    assert status.pending_bytes <= 6 * size
    assert (status.taken, refused) == (6, 44)
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    assert in_time(recorder.finish) == [None]
    assert check(tmp_path / "a.esteem", 6) == 6


def test_a_frame_of_another_shape_is_refused_and_the_others_stored(tmp_path):
    recorder = opened(tmp_path / "a.esteem")
    put(recorder, 0)
    with pytest.raises(ParameterError, match="has shape"):
        recorder.put({**make(1), "adf": np.zeros((3, 3), np.float32)})
    put(recorder, 1)
    assert in_time(recorder.finish) == [None]
    assert check(tmp_path / "a.esteem", 2) == 2


def test_a_frame_that_turns_bad_on_its_way_is_set_aside_and_the_others_stored(tmp_path, gate):
    recorder = opened(tmp_path / "a.esteem")
    event = gate()
    put(recorder, 0)
    bad = make(77)
    recorder.put(bad, copy=False)
    put(recorder, 1, 2)
    recorder.unsaved[1].values["adf"] = np.zeros((3, 3), np.float32)
    event.set()
    (error,) = in_time(recorder.finish)
    assert isinstance(error, StreamError)
    assert "1 of them for what is in them" in str(error)
    assert recorder.status.stored == 3
    (left,) = recorder.unsaved
    np.testing.assert_array_equal(left.values["eels"], bad["eels"])
    assert check(tmp_path / "a.esteem", 3) == 3
    left.values.update(make(3))
    left.known.update(known(3))
    assert in_time(recorder.finish) == [None]
    assert check(tmp_path / "a.esteem", 4) == 4
    assert io.info(tmp_path / "a.esteem").closed
