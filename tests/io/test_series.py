from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import series_function
import zarr
from series_function import WRITE_FILE, FullDisk, check, dense

from esteemcore import events, io
from esteemcore.errors import FormatError, ParameterError, StreamError
from esteemcore.io import durable, series_files

HERE = Path(__file__).parent


def function():
    return series_function


def test_a_series_comes_back_and_is_a_plain_zarr_group(tmp_path, monkeypatch):
    monkeypatch.setattr(series_files, "ROWS", 4)
    maker = function()
    scan = io.ScanRecord((12, 10), dwell_s=1e-5, step_nm=0.1, index=np.arange(120)[::-1])
    with io.SeriesWriter(
        tmp_path / "a.esteem", maker.signals(), scan=scan, metadata={"specimen": {"name": "x"}}
    ) as writer:
        for number in range(11):
            frame = maker.make(number)
            if number % 2:
                frame["eds"] = events.SparseSI.from_dense(frame["eds"])
            writer.append(frame, **maker.known(number))
            assert writer.frames == number + 1
            if number == 5:
                check(tmp_path / "a.esteem", 6)
                assert "6 frames are safe" in io.load(tmp_path / "a.esteem").notes[0]
    assert check(tmp_path / "a.esteem") == 11
    dataset = io.load(tmp_path / "a.esteem")
    assert dataset.notes == ()
    assert isinstance(dataset.signals["eds"].data, io.StoredEvents)
    np.testing.assert_array_equal(dataset.scan.index, scan.index)
    assert dataset.metadata["specimen"] == {"name": "x"}
    assert io.verify(tmp_path / "a.esteem") == []
    root = zarr.open(tmp_path / "a.esteem", mode="r")
    assert root["series/time_s"].shape == (11,)
    np.testing.assert_array_equal(root["signals/adf"][7], maker.make(7)["adf"])
    np.testing.assert_array_equal(root["signals/eds"][7], maker.make(7)["eds"])
    with pytest.raises(StreamError, match="is closed"):
        writer.append(maker.make(0))
    io.save(tmp_path / "b.esteem", dataset)
    assert check(tmp_path / "b.esteem") == 11


def test_a_frame_that_does_not_fit_is_not_taken(tmp_path):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    good = maker.make(0)
    for wrong in (
        {"adf": good["adf"]},
        {**good, "more": good["adf"]},
        {**good, "adf": good["adf"][:5]},
        {**good, "eels": good["eels"].astype(float)},
        {**good, "eels": events.SparseSI.from_dense(good["eels"])},
        5,
    ):
        with pytest.raises(ParameterError):
            writer.append(wrong)
    for known in ({"time_s": "soon"}, {"tilt_deg": 3.0}, {"energy_offset_ev": float("nan")}):
        with pytest.raises(ParameterError):
            writer.append(good, **known)
    assert writer.frames == 0
    writer.close()
    assert io.load(tmp_path / "a.esteem").series.frames == 0


@pytest.mark.parametrize("wrong", [-1, 2**32])
@pytest.mark.parametrize("sparse", [False, True])
def test_counts_that_no_event_has_are_refused_at_the_door(tmp_path, wrong, sparse):
    counts = np.zeros((3, 4, 5), np.int64)
    counts[1, 2, 3] = wrong
    frame = {"eds": events.SparseSI.from_dense(counts) if sparse else counts}
    writer = io.SeriesWriter(tmp_path / "a.esteem", {"eds": io.SeriesSignal((3, 4, 5), np.int64, kind="events")})
    with io.SeriesRecorder(writer) as recorder, pytest.raises(ParameterError, match="counts of"):
        recorder.put(frame)
    assert recorder.status.taken == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"CON": io.SeriesSignal((2, 2), "f4")},
        {"a": io.SeriesSignal((2, 0), "f4")},
        {"a": io.SeriesSignal((2, 2), "words")},
        {"a": io.SeriesSignal((2, 2), "f4", kind="events")},
        {"a": io.SeriesSignal((2, 2, 4), "f4", kind="packed")},
        {"a": io.SeriesSignal((2, 2, 4), "u2", codec="esteem.best")},
        {"a": io.SeriesSignal((2, 2, 4), "u2", kind="events", codec="zstd")},
        {"a": io.SeriesSignal((2, 2, 4, 2, 2), "u2")},
    ],
)
def test_signals_that_cannot_be_stored_are_refused_before_anything_is_made(tmp_path, wrong):
    with pytest.raises(ParameterError):
        io.SeriesWriter(tmp_path / "a.esteem", wrong)
    assert list(tmp_path.iterdir()) == []


def append_all(writer, numbers):
    maker = function()
    for number in numbers:
        writer.append(maker.make(number), **maker.known(number))


@pytest.mark.parametrize("passes", range(11))
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, passes):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    for number in range(3):
        writer.append(maker.make(number), **maker.known(number))
    monkeypatch.setattr(durable, "write_file", FullDisk(passes))
    for number in (3, 4):
        with pytest.raises(StreamError, match=r"the disk is full: \d frames are safe"):
            append_all(writer, range(number, 9))
        assert check(tmp_path / "a.esteem") == writer.frames
    with pytest.raises(StreamError):
        writer.close()
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    before = writer.frames
    for number in range(before, before + 2):
        writer.append(maker.make(number), **maker.known(number))
    writer.close()
    assert check(tmp_path / "a.esteem", before + 2)
    assert {a.shape[0] for _, a in zarr.open(tmp_path / "a.esteem", mode="r")["signals"].arrays()} == {before + 2}


def test_closing_after_a_failure_cuts_what_only_some_signals_have(tmp_path, monkeypatch):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    writer.append(maker.make(0), **maker.known(0))
    writes = 3 + 5 + 1  # blocks, arrays of the series, the first signal's length
    monkeypatch.setattr(durable, "write_file", FullDisk(writes))
    with pytest.raises(StreamError):
        writer.append(maker.make(1), **maker.known(1))
    lengths = [a.shape[0] for _, a in zarr.open(tmp_path / "a.esteem", mode="r")["signals"].arrays()]
    assert sorted(lengths) == [1, 1, 2]
    assert check(tmp_path / "a.esteem") == 1
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    writer.close()
    assert {a.shape[0] for _, a in zarr.open(tmp_path / "a.esteem", mode="r")["signals"].arrays()} == {1}
    assert check(tmp_path / "a.esteem") == 1


@pytest.mark.parametrize("passes", range(14))
def test_frames_after_a_close_that_failed_are_whole_at_once(tmp_path, monkeypatch, passes):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    writer.append(maker.make(0), **maker.known(0))
    monkeypatch.setattr(durable, "write_file", FullDisk(passes))
    try:
        writer.close()
    except StreamError:
        monkeypatch.setattr(durable, "write_file", WRITE_FILE)
        writer.append(maker.make(1), **maker.known(1))
        assert check(tmp_path / "a.esteem") == 2
        writer.close()
        assert check(tmp_path / "a.esteem", 2) == 2
    else:
        assert passes > 3
        assert check(tmp_path / "a.esteem", 1) == 1


@pytest.mark.parametrize("batch", range(4))
def test_killed_at_twenty_random_moments(tmp_path, batch):
    rng = np.random.default_rng(batch)
    running = []
    for number in range(5):
        path = tmp_path / f"{number}.esteem"
        command = [sys.executable, HERE / "series_function.py", path]
        running.append((path, subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    try:
        reported = []
        for _, process in running:
            first = process.stdout.readline()
            time.sleep(0.3 * rng.random())
            process.kill()
            lines = process.stdout.read().rpartition("\n")[0].splitlines()
            reported.append(int(([first, *lines])[-1]))
    finally:
        for _, process in running:
            process.kill()
            process.stdout.close()
            process.wait()
    for (path, _), count in zip(running, reported, strict=True):
        frames = check(path)
        assert count <= frames <= count + 1
        assert f"{frames:,} frames are safe" in io.load(path).notes[0]
        assert io.info(path).frames == frames
        assert not io.info(path).closed
        assert io.verify(path) == []


def put_in_one_buffer(recorder, n):
    """Put frames that share their memory; a call that waited for a disk that stands still would never return."""
    maker = function()
    buffers = maker.make(0)
    for number in range(n):
        for name, values in maker.make(number).items():
            buffers[name][...] = values
        recorder.put(buffers, **maker.known(number))


def put_until_it_fails(recorder, numbers):
    maker = function()
    for number in numbers:
        time.sleep(0.005)
        recorder.put(maker.make(number), **maker.known(number))


def test_a_recorder_never_waits_and_loses_nothing(tmp_path, monkeypatch):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    may_write = threading.Event()

    def slow(path, pieces):
        may_write.wait()
        WRITE_FILE(path, pieces)

    monkeypatch.setattr(durable, "write_file", slow)
    frame = maker.make(0)
    size = sum(values.nbytes for values in frame.values())
    recorder = io.SeriesRecorder(writer, memory_bytes=6 * size)
    with pytest.raises(StreamError, match=r"the disk cannot follow: .* nothing acquired is lost"):
        put_in_one_buffer(recorder, 50)
    status = recorder.status
    taken = status.taken
    assert (status.taken, status.stored, status.pending_frames) == (taken, 0, taken)
    assert status.pending_bytes > 6 * size
    with pytest.raises(StreamError, match="cannot follow"):
        recorder.put(maker.make(taken), **maker.known(taken))
    may_write.set()
    recorder.finish()
    recorder.finish()
    assert recorder.status == io.SeriesStatus(taken + 1, taken + 1, 0, 0)
    assert check(tmp_path / "a.esteem") == taken + 1
    with pytest.raises(StreamError, match="has ended"):
        recorder.put(frame)
    assert not any(thread.name == "esteem-series" for thread in threading.enumerate())


def test_a_recorder_on_a_full_disk_keeps_what_is_not_stored(tmp_path, monkeypatch):
    maker = function()
    writer = io.SeriesWriter(tmp_path / "a.esteem", maker.signals())
    recorder = io.SeriesRecorder(writer)
    recorder.put(maker.make(0), **maker.known(0))
    while recorder.status.stored < 1:
        time.sleep(0.005)
    monkeypatch.setattr(durable, "write_file", FullDisk(4))
    recorder.put(maker.make(1), **maker.known(1))
    with pytest.raises(StreamError, match=r"the disk is full.*1 of \d+ are on disk"):
        put_until_it_fails(recorder, range(2, 1000))
    taken = recorder.status.taken
    with pytest.raises(StreamError, match="call finish"):
        recorder.finish()
    assert len(recorder.unsaved) == taken - 1
    assert recorder.unsaved[0].known == maker.known(1)
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    recorder.finish()
    assert check(tmp_path / "a.esteem") == taken
    assert io.info(tmp_path / "a.esteem").closed


def test_the_loss_of_a_series_is_recorded(tmp_path):
    rng = np.random.default_rng(0)
    spec = {"name": "esteem.eels-bounded", "bound_sigma": 0.5}
    frames = rng.poisson(100, (3, 16, 16, 64)).astype(np.float32)
    with io.SeriesWriter(tmp_path / "a.esteem", {"eels": io.SeriesSignal((16, 16, 64), "f4", codec=spec)}) as writer:
        for frame in frames:
            writer.append({"eels": frame})
    signal = io.load(tmp_path / "a.esteem").signals["eels"]
    error = np.abs(np.asarray(signal.data) - frames)
    assert (error <= 0.5 * np.sqrt(frames)).all()
    (loss,) = signal.metadata["loss"]
    assert loss["largest_error"] == pytest.approx(error.max())
    assert loss["largest_error_sigma"] <= 0.5
    assert io.info(tmp_path / "a.esteem").signals[0].lossy


def test_damage_in_a_series_is_named(tmp_path):
    maker = function()
    with io.SeriesWriter(tmp_path / "a.esteem", maker.signals()) as writer:
        for number in range(4):
            writer.append(maker.make(number), **maker.known(number))
    (tmp_path / "a.esteem" / "signals" / "eds" / "c.2.0.0.0").unlink()
    data = bytearray((tmp_path / "a.esteem" / "series" / "time_s" / "c.0").read_bytes())
    data[3] ^= 1
    (tmp_path / "a.esteem" / "series" / "time_s" / "c.0").write_bytes(data)
    dataset = io.load(tmp_path / "a.esteem")
    assert dataset.series.time_s is None
    assert "series/time_s: frames 0 to 3 cannot be read" in dataset.notes[0]
    with pytest.raises(FormatError, match=r"signal 'eds': frames 2 to 2 cannot be read: its file is missing"):
        dataset.signals["eds"].data.frame(2)
    np.testing.assert_array_equal(dense(dataset.signals["eds"], 3), maker.make(3)["eds"])
    assert len(io.verify(tmp_path / "a.esteem")) == 2
