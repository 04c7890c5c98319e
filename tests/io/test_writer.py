from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from series_function import WRITE_FILE, FullDisk

from esteemcore import events, io, stream
from esteemcore.errors import ParameterError, StreamError
from esteemcore.io import container, durable

HERE = Path(__file__).parent


def joined(chunks, field="frames"):
    return np.concatenate([getattr(chunk, field) for chunk in chunks])


def packed_chunk(first, n):
    index, frames, time_s = frame_function().make(first, n)
    position = np.stack(np.divmod(index, 64), axis=1) + 0.25 if first >= 24 else None
    return stream.Chunk(index, frames, time_s=time_s, position=position)


def frame_function():
    import importlib.util

    spec = importlib.util.spec_from_file_location("frame_function", HERE / "frame_function.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spec_of_function():
    module = frame_function()
    return stream.Spec(module.SCAN, module.FRAME, np.uint8, packed=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_is_read_by_us_and_by_plain_zarr(tmp_path_factory, data):
    packed = data.draw(st.booleans())
    dtype = (
        np.dtype("u1") if packed else np.dtype(data.draw(st.sampled_from(["?", "u1", "<u2", ">u2", "i4", "f4", "f8"])))
    )
    ky, kx = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 19))
    ny, nx = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    sizes = data.draw(st.lists(st.integers(0, 23), max_size=8))
    block = data.draw(st.integers(1, 9))
    codec = data.draw(st.sampled_from(["zstd", "esteem.lossless", *(["esteem.binary-frames"] if packed else [])]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n = sum(sizes)
    frames = rng.integers(0, 200, (n, ky, kx)).astype(dtype)
    if packed:
        frames = events.pack_bits(frames % 2)
    index, time_s = rng.integers(0, ny * nx, n), rng.random(n)
    path = tmp_path_factory.mktemp("writer") / "a.esteem"
    spec = stream.Spec((ny, nx), (ky, kx), dtype, packed)
    at, visit, timed, place = 0, [], [], []
    with io.Writer(path, spec, block=block, codec=codec) as writer:
        for number, size in enumerate(sizes):
            part = slice(at, at + size)
            with_time, with_place = bool(rng.integers(2)), bool(rng.integers(2))
            position = rng.random((size, 2)) if with_place else None
            writer.append(
                stream.Chunk(
                    index[part],
                    frames[part],
                    visit=number // 2,
                    time_s=time_s[part] if with_time else None,
                    position=position,
                )
            )
            at += size
            visit += [number // 2] * size
            timed += [with_time] * size
            place.append(position if with_place else np.full((size, 2), np.nan))
            assert writer.frames >= at // block * block
            assert writer.frames + writer.pending == at
            if rng.random() < 0.2:
                writer.flush()
                assert writer.frames == at
        start = int(rng.integers(0, at + 1))
        back = list(writer.read(start, at))
        assert sum(map(len, back)) == at - start
        if back:
            np.testing.assert_array_equal(joined(back), frames[start:])
    times = np.where(timed, time_s, np.nan)
    root = zarr.open(path, mode="r")
    np.testing.assert_array_equal(root["signals/frames"][:], frames)
    np.testing.assert_array_equal(root["scan/index"][:], index)
    np.testing.assert_array_equal(root["scan/visit"][:], visit)
    np.testing.assert_array_equal(root["scan/time_s"][:], times)
    names = ["bytes", "zstd", "crc32c"] if codec == "zstd" else [codec]
    assert [c.to_dict()["name"] for c in root["signals/frames"].metadata.codecs] == names
    assert io.info(path).version == (1 if codec == "zstd" else 2)
    dataset = io.load(path)
    signal = dataset.signals["frames"]
    assert (signal.kind, signal.frame_shape) == ("packed" if packed else "dense", (ky, kx))
    np.testing.assert_array_equal(np.asarray(signal.data), frames)
    np.testing.assert_array_equal(dataset.scan.order(n), index)
    if dataset.scan.positions is not None:
        np.testing.assert_array_equal(dataset.scan.positions, np.concatenate(place))
    else:
        assert all(np.isnan(p).all() for p in place)
    for chunk in io.source(path).chunks(size=5) if n else ():
        chunk.check(io.source(path).spec)
    assert not list(path.rglob("*.part"))


def test_our_block_bytes_are_those_of_zarr(tmp_path, rng):
    """Zarr, told to write the same array with the same metadata, makes files that our reader takes, and vice versa."""
    frames = rng.integers(0, 3, (50, 6, 7)).astype(np.uint16)
    spec = stream.Spec((5, 10), (6, 7), np.uint16)
    with io.Writer(tmp_path / "a.esteem", spec, block=16) as writer:
        writer.append(stream.Chunk(np.arange(50), frames))
    folder = tmp_path / "a.esteem" / "signals" / "frames"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["c.0.0.0", "c.1.0.0", "c.2.0.0", "c.3.0.0", "zarr.json"]
    array = zarr.open(tmp_path / "a.esteem", mode="r+")["signals/frames"]
    array[:] = frames
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_events_become_packed_frames(tmp_path, rng):
    frames = (rng.random((40, 9, 21)) < 0.1).astype(np.uint8)
    spec = stream.Spec((5, 8), (9, 21), np.uint8, packed=True)
    table = events.events_from_frames(frames)
    with io.Writer(tmp_path / "a.esteem", spec) as writer:
        writer.append(stream.Chunk(np.arange(40), events=table))
    np.testing.assert_array_equal(
        np.asarray(io.load(tmp_path / "a.esteem").signals["frames"].data), events.pack_bits(frames)
    )


def test_events_that_do_not_fit_are_refused(tmp_path):
    table = events.EventTable([0, 1], [3], [2])
    packed = io.Writer(tmp_path / "a.esteem", stream.Spec((2, 2), (4, 4), np.uint8, packed=True))
    with pytest.raises(ParameterError, match="2 electrons"):
        packed.append(stream.Chunk([0], events=table))
    dense = io.Writer(tmp_path / "b.esteem", stream.Spec((2, 2), (4, 4), np.uint8))
    with pytest.raises(ParameterError, match="holds events"):
        dense.append(stream.Chunk([0], events=table))
    assert packed.frames + packed.pending + dense.frames + dense.pending == 0


def test_what_is_known_comes_back(tmp_path):
    from esteemcore import fourd

    geometry = fourd.Geometry(0.05, 200.0, 15.0, (0.5, 0.6), aberrations={"C10": -20.0, "C12": (3.0, 0.5)})
    scan = io.ScanRecord((2, 2), dwell_s=8e-5, flyback_s=0.0, step_nm=0.05)
    writer = io.Writer(
        tmp_path / "a.zarr",
        stream.Spec((2, 2), (4, 4), np.uint8),
        scan=scan,
        geometry=geometry,
        metadata={"specimen": {"name": "MFI"}},
    )
    writer.update(metadata={"people": {"operator": "A"}}, geometry={"rotation_deg": 32.0})
    assert io.load(tmp_path / "a.zarr").format.endswith("not closed")
    assert "not closed" in io.load(tmp_path / "a.zarr").notes[0]
    writer.close()
    writer.close()
    dataset = io.load(tmp_path / "a.zarr")
    assert dataset.notes == ()
    assert fourd.Geometry(**dataset.geometry) == fourd.Geometry(
        0.05, 200.0, 15.0, (0.5, 0.6), rotation_deg=32.0, aberrations={"C10": -20.0, "C12": (3.0, 0.5)}
    )
    assert dataset.metadata["people"] == {"operator": "A"}
    assert dataset.metadata["specimen"] == {"name": "MFI"}
    assert dataset.metadata["provenance"]["function"] == "io.Writer"
    assert (dataset.scan.dwell_s, dataset.scan.step_nm, dataset.scan.flyback_s) == (8e-5, 0.05, 0.0)


def test_one_bit_frames_take_less_room_in_their_own_codec(tmp_path, rng):
    frames = events.pack_bits(rng.random((300, 64, 64)) < 0.02)
    spec = stream.Spec((20, 15), (64, 64), np.uint8, packed=True)
    for codec in ("zstd", "esteem.binary-frames"):
        with io.Writer(tmp_path / f"{codec}.esteem", spec, codec=codec) as writer:
            writer.append(stream.Chunk(np.arange(300), frames))
        np.testing.assert_array_equal(np.asarray(io.load(writer.path).signals["frames"].data), frames)
    plain, own = (io.info(tmp_path / f"{codec}.esteem").signals[0] for codec in ("zstd", "esteem.binary-frames"))
    p = 0.02
    entropy = frames.size * -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert own.stored_bytes < min(1.15 * entropy, 0.7 * plain.stored_bytes)


@pytest.mark.parametrize("codec", ["esteem.events", {"name": "esteem.eels-bounded", "bound_sigma": 0.5}, "nope", 5])
def test_frames_that_come_lose_nothing(tmp_path, codec):
    with pytest.raises(ParameterError, match=r"codec|stored with"):
        io.Writer(tmp_path / "a.esteem", spec_of_function(), codec=codec)
    with pytest.raises(ParameterError, match=r"not dense ones with 'esteem\.binary-frames'"):
        io.Writer(tmp_path / "a.esteem", stream.Spec((4, 4), (8, 8), np.uint8), codec="esteem.binary-frames")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_and_occupied_names(tmp_path):
    spec = stream.Spec((2, 2), (4, 4), np.uint8)
    with pytest.raises(ParameterError, match=r"\.esteem"):
        io.Writer(tmp_path / "a.txt", spec)
    with pytest.raises(ParameterError, match="announced"):
        io.Writer(tmp_path / "a.esteem", spec, scan=io.ScanRecord((3, 3)))
    (tmp_path / "mine.esteem").mkdir()
    (tmp_path / "mine.esteem" / "thesis.txt").write_text("years of work")
    with pytest.raises(ParameterError, match="not a container"):
        io.Writer(tmp_path / "mine.esteem", spec, overwrite=True)
    assert (tmp_path / "mine.esteem" / "thesis.txt").exists()
    with io.Writer(tmp_path / "a.esteem", spec) as writer:
        writer.append(stream.Chunk([1], np.ones((1, 4, 4), np.uint8)))
    with pytest.raises(ParameterError, match="exists already"):
        io.Writer(tmp_path / "a.esteem", spec)
    with pytest.raises(StreamError, match="is closed"):
        writer.append(stream.Chunk([1], np.ones((1, 4, 4), np.uint8)))
    with pytest.raises(ParameterError, match="announced"):
        io.Writer(tmp_path / "b.esteem", spec).append(stream.Chunk([1], np.ones((1, 4, 5), np.uint8)))
    io.Writer(tmp_path / "a.esteem", spec, overwrite=True).close()
    assert len(io.load(tmp_path / "a.esteem").signals["frames"].data) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.esteem", "b.esteem", "mine.esteem"]


def test_a_slow_acquisition_is_committed_from_time_to_time(tmp_path):
    writer = io.Writer(tmp_path / "a.esteem", spec_of_function(), block=1000, commit_every_s=0.0)
    writer.append(packed_chunk(0, 7))
    writer.append(packed_chunk(7, 5))
    assert (writer.frames, writer.pending) == (7, 5)
    assert len(io.load(tmp_path / "a.esteem").signals["frames"].data) == 7


def test_read_back_while_appending(tmp_path):
    total, writer = 6000, io.Writer(tmp_path / "a.esteem", spec_of_function(), block=64)
    problems: list[str] = []
    done = threading.Event()

    def reading():
        rng, expected = np.random.default_rng(0), frame_function().make(0, total)
        while not done.is_set():
            available = writer.frames + writer.pending
            start = int(rng.integers(0, available + 1))
            stop = int(rng.integers(start, min(start + 300, available) + 1))
            back = list(writer.read(start, stop))
            for name, values in zip(("index", "frames", "time_s"), expected, strict=True):
                if back and not np.array_equal(joined(back, name), values[start:stop]):
                    problems.append(f"{name} of {start} to {stop}")

    thread = threading.Thread(target=reading)
    thread.start()
    try:
        at, rng = 0, np.random.default_rng(1)
        while at < total:
            n = min(int(rng.integers(1, 150)), total - at)
            writer.append(packed_chunk(at, n))
            at += n
    finally:
        done.set()
        thread.join()
    assert problems == []
    with pytest.raises(ParameterError, match="there are 6000"):
        list(writer.read(0, total + 1))


def append_until_it_fails(writer, taken, sizes):
    """Return how many frames were taken before the disk was full."""
    for size in sizes:
        try:
            writer.append(packed_chunk(taken, size))
        except StreamError as error:
            message = str(error)
            break
        taken += size
    else:
        pytest.fail("the disk was not full")
    assert f"the disk is full: {writer.frames:,} frames are safe in {writer.path}" in message
    return taken


@pytest.mark.parametrize("passes", range(16))
def test_a_full_disk_loses_nothing_and_appending_goes_on_when_there_is_room(tmp_path, monkeypatch, passes):
    writer = io.Writer(tmp_path / "a.esteem", spec_of_function(), block=16)
    writer.append(packed_chunk(0, 24))
    monkeypatch.setattr(durable, "write_file", FullDisk(passes))
    taken = append_until_it_fails(writer, 24, (5, 40, 100))
    assert writer.frames + writer.pending == taken
    assert joined(writer.read(0, taken)).shape[0] == taken
    committed = np.asarray(io.load(writer.path).signals["frames"].data)
    np.testing.assert_array_equal(committed, frame_function().make(0, len(committed))[1])
    assert len(committed) >= writer.frames
    with pytest.raises(StreamError):
        writer.close()
    monkeypatch.setattr(durable, "write_file", WRITE_FILE)
    for size in (50, 3):
        writer.append(packed_chunk(taken, size))
        taken += size
    writer.close()
    index, frames, time_s = frame_function().make(0, taken)
    dataset = io.load(writer.path)
    np.testing.assert_array_equal(np.asarray(dataset.signals["frames"].data), frames)
    np.testing.assert_array_equal(dataset.scan.index, index)
    np.testing.assert_array_equal(dataset.scan.time_s, time_s)
    np.testing.assert_array_equal(dataset.scan.positions[24:], np.stack(np.divmod(index, 64), axis=1)[24:] + 0.25)
    assert np.isnan(dataset.scan.positions[:24]).all()
    np.testing.assert_array_equal(zarr.open(writer.path, mode="r")["scan/index"][:], index)
    assert not list(writer.path.rglob("*.part"))


LIMITED = """
import resource, sys
import numpy as np
from esteemcore import io, stream
from esteemcore.errors import StreamError
writer = io.Writer(sys.argv[1], stream.Spec((16, 16), (64, 64), np.uint8), block=16, commit_every_s=1e9)
frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64)).astype(np.uint8)
writer.append(stream.Chunk(np.arange(20), frames))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
try:
    writer.append(stream.Chunk(np.arange(20), frames))
except StreamError as error:
    print(error)
print(writer.frames, writer.pending)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(stream.Chunk(np.arange(20), frames))
writer.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_really_refuses(tmp_path):
    path = tmp_path / "a.esteem"
    process = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    lines = process.stdout.splitlines()
    assert lines[0].startswith("the disk takes no files of this size: 16 frames are safe in")
    assert "4 more wait in memory" in lines[0]
    assert lines[1] == "16 4"
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(io.load(path).signals["frames"].data), np.concatenate([frames, frames]))
    assert not list(path.rglob("*.part"))


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_moment(tmp_path, seed):
    path = tmp_path / "a.esteem"
    command = [sys.executable, HERE / "frame_function.py", path, "16", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        reported = [int(process.stdout.readline())]
        time.sleep(0.02 + 0.3 * np.random.default_rng(seed).random())
        process.kill()
        whole_lines = process.stdout.read().rpartition("\n")[0]
        reported += [int(line) for line in whole_lines.splitlines()]
    dataset = io.load(path)
    committed = np.asarray(dataset.signals["frames"].data)
    index, frames, time_s = frame_function().make(0, len(committed))
    assert len(committed) >= reported[-1]
    np.testing.assert_array_equal(committed, frames)
    np.testing.assert_array_equal(dataset.scan.index, index)
    np.testing.assert_array_equal(dataset.scan.time_s, time_s)
    assert "was not closed" in dataset.notes[0]
    assert f"{len(committed):,} frames are safe" in dataset.notes[0]
    assert io.verify(path) == []
    root = zarr.open(path, mode="r")
    assert root.attrs["esteem"]["closed"] is False
    np.testing.assert_array_equal(root["signals/frames"][:], frames)
    np.testing.assert_array_equal(root["scan/index"][: len(frames)], index)


def test_an_error_while_acquiring_closes_the_file_and_is_not_hidden(tmp_path):
    def acquire():
        with io.Writer(tmp_path / "a.esteem", spec_of_function()) as writer:
            writer.append(packed_chunk(0, 3))
            raise RuntimeError("beam gone")

    with pytest.raises(RuntimeError, match="beam gone"):
        acquire()
    assert len(io.load(tmp_path / "a.esteem").signals["frames"].data) == 3
    attributes = json.loads((tmp_path / "a.esteem" / "zarr.json").read_text())["attributes"]["esteem"]
    assert attributes["closed"] is True


def test_it_is_the_store_of_a_live_run(tmp_path):
    spec = spec_of_function()
    with io.Writer(tmp_path / "a.esteem", spec, block=32) as writer:
        with stream.LiveRunner({}, spec, store=writer, memory_bytes=2**20) as runner:
            for first in range(0, 500, 50):
                runner.put(packed_chunk(first, 50))
        assert (writer.frames, writer.pending) == (500, 0)
    np.testing.assert_array_equal(joined(io.source(tmp_path / "a.esteem").chunks()), frame_function().make(0, 500)[1])


def test_of_two_writers_at_once_one_keeps_the_folder(tmp_path, monkeypatch) -> None:
    spec = stream.Spec((2, 2), (4, 4), np.uint8)
    path = tmp_path / "scan.esteem"
    faster = []

    def race(target, overwrite, look=container.make_room):
        found = look(target, overwrite)
        if not faster:
            faster.append(None)
            faster[0] = io.Writer(target, spec)
        return found

    monkeypatch.setattr(container, "make_room", race)
    with pytest.raises(StreamError, match="cannot be made"):
        io.Writer(path, spec)
    faster[0].append(stream.Chunk([1], np.ones((1, 4, 4), np.uint8)))
    faster[0].close()
    assert io.load(path).scan.index.tolist() == [1]


@pytest.mark.parametrize("name", ["CON", "nul.txt", "Com1", 5, None, ""])
def test_names_that_no_folder_can_have(tmp_path, name) -> None:
    with pytest.raises(ParameterError, match="cannot be the name"):
        io.Writer(tmp_path / "a.esteem", stream.Spec((2, 2), (4, 4), np.uint8), name=name)


@pytest.mark.parametrize(
    "name", ["CON.esteem", "nul.v2.esteem", "Com1 .zarr", "14:30.esteem", "a?.esteem", "a\\b.zarr", "a\tb.esteem"]
)
def test_names_that_windows_cannot_open(tmp_path, name) -> None:
    spec = stream.Spec((2, 2), (4, 4), np.uint8)
    with pytest.raises(ParameterError, match=r"Windows.*choose another name"):
        io.Writer(tmp_path / name, spec)
    assert not list(tmp_path.iterdir())


def test_a_container_with_such_a_name_is_still_read_and_replaced(tmp_path) -> None:
    spec = stream.Spec((2, 2), (4, 4), np.uint8)
    io.Writer(tmp_path / "a.esteem", spec).close()
    old = (tmp_path / "a.esteem").rename(tmp_path / "14:30.esteem")
    assert len(io.load(old).signals["frames"].data) == 0
    with io.Writer(old, spec, overwrite=True) as writer:
        writer.append(stream.Chunk([1], np.ones((1, 4, 4), np.uint8)))
    assert len(io.load(old).signals["frames"].data) == 1


def test_no_container_in_another_one(tmp_path) -> None:
    spec = stream.Spec((2, 2), (4, 4), np.uint8)
    path = io.Writer(tmp_path / "a.esteem", spec).path
    for inside in (path / "b.esteem", path / "signals" / "b.esteem"):
        with pytest.raises(ParameterError, match="lies inside of the container"):
            io.Writer(inside, spec)
    (tmp_path / "folder.zarr").mkdir()
    io.Writer(tmp_path / "folder.zarr" / "b.esteem", spec).close()


@pytest.mark.parametrize("path", [None, 5, "a\0b.esteem"])
def test_paths_that_no_folder_can_have(path) -> None:
    with pytest.raises(ParameterError):
        io.Writer(path, stream.Spec((2, 2), (4, 4), np.uint8))


def test_metadata_are_entries_by_name(tmp_path) -> None:
    with pytest.raises(ParameterError, match="metadata"):
        io.Writer(tmp_path / "a.esteem", stream.Spec((2, 2), (4, 4), np.uint8), metadata=5)
