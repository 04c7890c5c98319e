"""Frames appended to a series that is there: closed, left by a process that died, damaged, or another one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import series_function
import zarr
from series_function import WRITE_FILE, FullDisk, check, dense

from esteemcore import events, io
from esteemcore.errors import FormatError, ParameterError, StreamError
from esteemcore.io import container, durable, series_files

HERE = Path(__file__).parent


def function():
    return series_function


def write(path, numbers, **more):
    maker = function()
    with io.SeriesWriter(path, maker.signals(), **more) as writer:
        for number in numbers:
            writer.append(maker.make(number), **maker.known(number))


def content(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture
def closed(tmp_path):
    write(tmp_path / "a.esteem", range(3))
    return tmp_path / "a.esteem"


@pytest.mark.parametrize("rows", [1, 3, 4, 256])
def test_closed_series_grows_and_stays_one_series(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(series_files, "ROWS", rows)
    path, first = tmp_path / "a.esteem", 0
    scan = io.ScanRecord((12, 10), dwell_s=1e-5, step_nm=(0.1, 0.2), index=np.arange(120)[::-1])
    for count in (3, 0, 1, 5):
        write(path, range(first, first + count), append=True, scan=scan, metadata={f"run {first}": count})
        first += count
        assert check(path, first) == first
        assert io.load(path).notes == ()
        assert io.verify(path) == []
    dataset = io.load(path)
    assert {dataset.metadata[f"run {n}"] for n in (0, 4)} == {3, 5}
    assert dataset.scan.step_nm == (0.1, 0.2)
    np.testing.assert_array_equal(dataset.scan.index, scan.index)
    root = zarr.open(path, mode="r")
    assert {array.shape[0] for group in ("signals", "series") for _, array in root[group].arrays()} == {9}
    history = dataset.metadata["provenance"]
    assert history["function"] == "io.SeriesWriter"
    assert [entry["first_frame"] for entry in history["appended"]] == [3, 3, 4]


def test_what_is_there_says_how_frames_are_stored(closed):
    maker = function()
    with io.SeriesWriter(closed, append=True) as writer:
        assert writer.frames == 3
        frame = maker.make(3)
        writer.append({**frame, "eds": events.SparseSI.from_dense(frame["eds"])}, **maker.known(3))
    with io.SeriesRecorder(io.SeriesWriter(closed, dict(reversed(maker.signals().items())), append=True)) as recorder:
        recorder.put(maker.make(4), **maker.known(4))
    assert check(closed) == 5
    assert list(io.load(closed).signals) == ["adf", "eels", "eds"]


def test_open_readers_keep_their_frames_and_see_more_when_they_ask(closed):
    before = io.load(closed)
    plain = zarr.open(closed, mode="r")["signals/adf"]
    assert plain.shape[0] == 3
    np.testing.assert_array_equal(dense(before.signals["adf"], 1), function().make(1)["adf"])
    maker = function()
    with io.SeriesWriter(closed, append=True) as writer:
        for number in (3, 4):
            writer.append(maker.make(number), **maker.known(number))
            assert len(before.reload().series) == number + 1
            assert f"{number + 1} frames are safe" in before.reload().notes[0]
            for name in maker.SHAPES:
                assert before.signals[name].data.shape[0] == 3
                for old in range(3):
                    np.testing.assert_array_equal(dense(before.signals[name], old), maker.make(old)[name])
                np.testing.assert_array_equal(dense(before.reload().signals[name], number), maker.make(number)[name])
    assert zarr.open(closed, mode="r")["signals/adf"].shape[0] == 5
    assert before.reload().notes == ()
    with pytest.raises(ParameterError, match="in memory only"):
        io.Dataset({}).reload()


def changed(signals, name, **more):
    import dataclasses

    return {**signals, name: dataclasses.replace(signals[name], **more)}


NAMED = tuple(io.Axis(n, s, 0.5) for n, s in (("y", 12), ("x", 10)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"adf": s["adf"]}, "has frames of 'adf', 'eels', 'eds', but 'adf' shall"),
        (lambda s: {**s, "bf": s["adf"]}, "'bf' shall be appended"),
        (lambda s: changed(s, "adf", shape=(12, 11)), r"frames of shape \(12, 10\), but \(12, 11\)"),
        (lambda s: changed(s, "eels", dtype=np.uint32), "dtype uint16, but uint32"),
        (lambda s: changed(s, "eds", kind="dense"), "kind events, but dense"),
        (lambda s: changed(s, "eels", codec="zstd"), "with codec"),
        (lambda s: changed(s, "adf", axes=NAMED), "with axes"),
        (lambda s: {}, "expected io.SeriesSignal"),
        (lambda s: {"adf": (12, 10)}, "expected io.SeriesSignal"),
    ],
)
def test_other_frames_are_refused_and_nothing_is_touched(closed, change, words):
    before = content(closed)
    with pytest.raises(ParameterError, match=words):
        io.SeriesWriter(closed, change(function().signals()), append=True)
    assert content(closed) == before


def test_another_scan_or_file_is_refused_and_nothing_is_touched(closed, tmp_path):
    maker = function()
    io.save(tmp_path / "image.esteem", io.Dataset({"a": io.Signal(np.eye(3), (io.Axis("y", 3), io.Axis("x", 3)))}))
    stack = (io.Axis("frame", 5), io.Axis("y", 3), io.Axis("x", 3))
    saved = io.Dataset({"a": io.Signal(np.zeros((5, 3, 3)), stack)}, series=io.SeriesRecord(5))
    io.save(tmp_path / "saved.esteem", saved)
    (tmp_path / "foreign.zarr").mkdir()
    (tmp_path / "foreign.zarr" / "thesis.txt").write_text("x")
    io.pack(closed, tmp_path / "b.esteem.zip")
    shutil.move(tmp_path / "b.esteem.zip", tmp_path / "zip.esteem")
    before = content(tmp_path)
    for name, error, words, more in (
        ("a", ParameterError, "scanned in another way", {"scan": io.ScanRecord((12, 10))}),
        ("a", ParameterError, "choose one", {"overwrite": True}),
        ("a", ParameterError, "SPDX", {"metadata": {"credits": {"license": 3}}}),
        ("image", ParameterError, "no series", {}),
        ("saved", ParameterError, "blocks of several frames", {}),
        ("zip", ParameterError, "is a file", {}),
        ("foreign", FormatError, "not a container", {}),
    ):
        path = next(tmp_path.glob(f"{name}.*"))
        with pytest.raises(error, match=words):
            io.SeriesWriter(path, maker.signals(), append=True, **more)
    assert content(tmp_path) == before
    with pytest.raises(ParameterError, match=r"expected io\.SeriesSignal"):
        io.SeriesWriter(tmp_path / "new.esteem", append=True)
    assert not (tmp_path / "new.esteem").exists()


def test_damage_where_frames_would_be_added_is_refused(closed):
    block = closed / "series" / "time_s" / "c.0"
    data = bytearray(block.read_bytes())
    data[5] ^= 1
    block.write_bytes(data)
    before = content(closed)
    with pytest.raises(FormatError, match="is damaged, so that nothing is appended"):
        io.SeriesWriter(closed, append=True)
    assert content(closed) == before


def test_damage_elsewhere_is_no_reason_to_lose_new_frames(closed):
    (closed / "signals" / "eels" / "c.1.0.0.0").unlink()
    write(closed, range(3, 5), append=True)
    assert len(io.verify(closed)) == 1
    np.testing.assert_array_equal(dense(io.load(closed).signals["eels"], 4), function().make(4)["eels"])


def test_columns_of_later_versions_are_added_to_older_containers(closed):
    shutil.rmtree(closed / "series" / "displacement_px")
    maker = function()
    assert io.load(closed).series.displacement_px is None
    writer = io.SeriesWriter(closed, append=True)
    writer.append(maker.make(3), **maker.known(3))
    column = io.load(closed).series.displacement_px
    assert np.isnan(column[:3]).all()
    np.testing.assert_array_equal(column[3], maker.known(3)["displacement_px"])
    writer.close()
    assert zarr.open(closed, mode="r")["series/displacement_px"].shape == (4, 2)


@pytest.mark.parametrize("passes", range(18))
def test_a_full_disk_while_appending_loses_nothing(closed, monkeypatch, passes):
    maker = function()
    monkeypatch.setattr(durable, "write_file", FullDisk(passes))
    try:
        writer = io.SeriesWriter(closed, append=True)
        writer.append(maker.make(3), **maker.known(3))
    except StreamError as error:
        assert "3 frames are safe" in str(error)  # noqa: PT017
    else:
        assert passes == 17  # root, blocks, lengths of the columns, columns, lengths of the signals
    frames = check(closed)
    assert frames == (4 if passes == 17 else 3)
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    write(closed, range(frames, 6), append=True)
    assert check(closed, 6) == 6
    assert io.load(closed).notes == ()


def test_losses_of_each_run_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    spec = {"name": "esteem.eels-bounded", "bound_sigma": 0.5}
    signals = {"eels": io.SeriesSignal((16, 16, 64), "f4", codec=spec)}
    frames = rng.poisson(100, (4, 16, 16, 64)).astype(np.float32)
    for numbers in ((0, 1), (), (2, 3)):
        with io.SeriesWriter(tmp_path / "a.esteem", signals, append=True) as writer:
            for number in numbers:
                writer.append({"eels": frames[number]})
    signal = io.load(tmp_path / "a.esteem").signals["eels"]
    error = np.abs(np.asarray(signal.data) - frames)
    assert [x["largest_error"] for x in signal.metadata["loss"]] == pytest.approx([error[:2].max(), error[2:].max()])
    signals = {"eels": io.SeriesSignal((16, 16, 64), "f4", codec={**spec, "bound_sigma": 1.0})}
    with pytest.raises(ParameterError, match="codec"):
        io.SeriesWriter(tmp_path / "a.esteem", signals, append=True)


@pytest.mark.parametrize("batch", range(3))
def test_killed_again_and_again_while_appending(tmp_path, batch):
    rng = np.random.default_rng(batch)
    paths = [tmp_path / f"{number}.esteem" for number in range(3)]
    for path in paths[:2]:
        write(path, range(3))
    for _ in range(2):
        before = [check(path) if path.exists() else 0 for path in paths]
        command = [sys.executable, HERE / "series_function.py"]
        running = [subprocess.Popen([*command, path, "append"], stdout=subprocess.PIPE, text=True) for path in paths]
        reported = []
        try:
            for process in running:
                first = process.stdout.readline()
                time.sleep(0.2 * rng.random())
                process.kill()
                lines = process.stdout.read().rpartition("\n")[0].splitlines()
                reported.append(int(([first, *lines])[-1]))
        finally:
            for process in running:
                process.kill()
                process.stdout.close()
                process.wait()
        for path, count, old in zip(paths, reported, before, strict=True):
            frames = check(path)
            assert old < count <= frames <= count + 1
            assert f"{frames:,} frames are safe" in io.load(path).notes[0]
            assert io.verify(path) == []
    for path in paths:
        frames = check(path)
        write(path, range(frames, frames + 2), append=True)
        assert check(path, frames + 2) == frames + 2
        assert io.info(path).closed


def test_folders_are_made_durable_with_their_names(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync_folder", lambda folder: synced.append(Path(folder)))
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    with pytest.raises(FileExistsError):
        durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b", exist_ok=True)
    synced.clear()
    writer = io.SeriesWriter(tmp_path / "new" / "s.esteem", function().signals())
    names = {folder.parent.relative_to(writer.path) for folder in writer.path.rglob("*") if folder.is_dir()}
    (made,) = {folder for folder in synced if folder.name.startswith(".s.esteem.")}
    assert {tmp_path, writer.path.parent, *(made / name for name in names)} <= set(synced)
    assert synced[-1] == writer.path.parent

    def refuse(folder):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable, "sync_folder", refuse)
    with pytest.raises(OSError, match="Input/output"):
        durable.make_folder(tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("passes", range(12))
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_series_that_cannot_be_made_leaves_what_was_there(tmp_path, monkeypatch, passes, overwrite):
    path = tmp_path / "a.esteem"
    if overwrite:
        write(path, range(2))
    monkeypatch.setattr(durable, "write_file", FullDisk(passes))
    with pytest.raises(StreamError, match="cannot be made: the disk is full"):
        io.SeriesWriter(path, function().signals(), overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == (["a.esteem"] if overwrite else [])
    if overwrite:
        assert check(path, 2) == 2


def test_a_process_killed_while_it_makes_a_series_leaves_no_half_of_it(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(path, pieces):
        raise Killed

    monkeypatch.setattr(durable, "write_file", kill)
    monkeypatch.setattr(container, "discard", lambda path: None)  # it had no time to tidy up
    with pytest.raises(Killed):
        io.SeriesWriter(tmp_path / "a.esteem", function().signals())
    monkeypatch.undo()
    assert not (tmp_path / "a.esteem").exists()
    write(tmp_path / "a.esteem", range(2), append=True)
    assert check(tmp_path / "a.esteem", 2) == 2


def test_provenance_survives_a_copy(closed, tmp_path):
    write(closed, range(3, 4), append=True)
    io.save(tmp_path / "copy.esteem", io.load(closed))
    root = json.loads((tmp_path / "copy.esteem" / "zarr.json").read_text())["attributes"]["esteem"]
    assert [entry["first_frame"] for entry in root["provenance"]["before"]["appended"]] == [3]
