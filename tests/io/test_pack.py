from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esteemcore import events, io, stream
from esteemcore.errors import CancelledError, FormatError, ParameterError, StreamError
from esteemcore.io import durable


def axes(**sizes):
    return tuple(io.Axis(name, size) for name, size in sizes.items())


@pytest.fixture
def container(tmp_path, rng):
    """A closed container with frames in random order and a spectrum image of events."""
    frames = (rng.random((50, 6, 16)) < 0.2).astype(np.uint8)
    counts = rng.poisson(0.1, (5, 10, 30)).astype(np.uint16)
    dataset = io.Dataset(
        {
            "frames": io.Signal(events.pack_bits(frames), axes(frame=50, ky=6, kx=16), "packed", (6, 16)),
            "eds": io.Signal(events.SparseSI.from_dense(counts), axes(y=5, x=10, energy=30), "events"),
        },
        io.ScanRecord((5, 10), index=rng.permutation(50), time_s=np.arange(50.0)),
        metadata={"credits": {"title": "packed"}},
    )
    io.save(tmp_path / "a.esteem", dataset)
    return tmp_path / "a.esteem", frames, counts


def test_a_packed_container_is_read_in_place(container, tmp_path):
    path, frames, counts = container
    packed = io.pack(path)
    assert packed == tmp_path / "a.esteem.zip"
    before = io.load(path)
    shutil.rmtree(path)
    dataset = io.load(packed)
    np.testing.assert_array_equal(events.unpack_bits(np.asarray(dataset.signals["frames"].data), 16), frames)
    np.testing.assert_array_equal(dataset.signals["eds"].data.load().to_dense(), counts)
    np.testing.assert_array_equal(dataset.scan.index, before.scan.index)
    assert dataset.path == str(packed)
    assert dataset.credits.title == "packed"
    assert io.verify(packed) == []
    source = pickle.loads(pickle.dumps(io.source(str(packed))))
    np.testing.assert_array_equal(np.concatenate([c.index for c in source.chunks(size=7)]), before.scan.index)
    assert io.info(packed).closed
    assert io.info(packed).signals[1].codec == "esteem.events"
    np.testing.assert_array_equal(io.to_dask(dataset.signals["eds"])[2:4].compute(), counts[2:4])
    io.save(tmp_path / "b.esteem", dataset)
    assert io.verify(tmp_path / "b.esteem") == []
    packed.rename(tmp_path / "attachment.zip")
    assert io.load(tmp_path / "attachment.zip").credits.title == "packed"


def test_equal_containers_make_equal_zips_without_compression(container, tmp_path):
    path, *_ = container
    first = io.pack(path, tmp_path / "one.esteem.zip").read_bytes()
    assert io.pack(str(path), str(tmp_path / "two.zarr.zip")).read_bytes() == first
    with zipfile.ZipFile(tmp_path / "one.esteem.zip") as file:
        infos = file.infolist()
    assert infos[0].filename == "zarr.json"
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert sorted(i.filename for i in infos) == sorted(
        f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()
    )


def test_what_cannot_be_packed(container, tmp_path, monkeypatch):
    path, *_ = container
    packed = io.pack(path)
    content = packed.read_bytes()
    for wrong in ("b.zip", "b.esteem"):
        with pytest.raises(ParameterError, match="not a name"):
            io.pack(path, tmp_path / wrong)
    with pytest.raises(ParameterError, match="exists already"):
        io.pack(path)
    with pytest.raises(ParameterError, match="Windows"):
        io.pack(path, tmp_path / "14:30.esteem.zip")
    with pytest.raises(FormatError, match="no folder"):
        io.pack(packed)
    with pytest.raises(FormatError, match="not a container"):
        io.pack(tmp_path)
    writer = io.Writer(tmp_path / "open.esteem", stream.Spec((2, 2), (4, 4), np.uint8))
    with pytest.raises(FormatError, match="was not closed"):
        io.pack(writer.path)
    (path / "thesis.txt").write_text("x")
    with pytest.raises(FormatError, match="no part of a container"):
        io.pack(path, overwrite=True)
    (path / "thesis.txt").unlink()
    (path / "zarr.json.part").write_text("left over")
    io.pack(path, overwrite=True)
    assert packed.read_bytes() == content
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        io.pack(path, overwrite=True, cancel=cancel)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(StreamError, match="the disk is full; nothing was changed"):
        io.pack(path, overwrite=True)
    assert packed.read_bytes() == content
    block = next(path.glob("signals/eds/c.*"))
    data = bytearray(block.read_bytes())
    data[9] ^= 1
    block.write_bytes(data)
    with pytest.raises(FormatError, match="is damaged: its checksum"):
        io.pack(path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.esteem", "a.esteem.zip", "open.esteem"]


def rewritten(packed, target, change):
    """Write a zip again with its entries (name, data, compression) changed."""
    with zipfile.ZipFile(packed) as file:
        entries = [[info.filename, file.read(info), zipfile.ZIP_STORED] for info in file.infolist()]
    entries = change(entries)
    with zipfile.ZipFile(target, "w") as file:
        for name, data, method in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name.endswith("link") else 0o644) << 16
            info.compress_type = method
            file.writestr(info, data)
    return target


def edited(name, edit):
    def change(entries):
        for entry in entries:
            if entry[0] == name:
                content = json.loads(entry[1])
                edit(content)
                entry[1] = json.dumps(content).encode()
        return entries

    return change


HOSTILE = {
    "up": (lambda e: [*e, ["../evil", b"x", 0]], "not the name of a file"),
    "inner up": (lambda e: [*e, ["signals/../../evil", b"x", 0]], "not the name of a file"),
    "absolute": (lambda e: [*e, ["/etc/passwd", b"x", 0]], "not the name of a file"),
    "drive": (lambda e: [*e, ["C:/evil", b"x", 0]], "not the name of a file"),
    "link": (lambda e: [*e, ["signals/link", b"/etc/passwd", 0]], "not the name of a file"),
    "deflated bomb": (lambda e: [*e, ["signals/eds/c.9", bytes(10**7), 8]], "compressed or encrypted"),
    "deflated": (lambda e: [[n, d, 8] for n, d, _ in e], "compressed or encrypted"),
    "in a folder": (lambda e: [[f"a.esteem/{n}", d, m] for n, d, m in e], "not a container"),
    "no root": (lambda e: [x for x in e if x[0] != "zarr.json"], "not a container"),
    "no signal": (lambda e: [x for x in e if x[0] != "signals/eds/zarr.json"], "missing"),
    "huge": (edited("signals/frames/zarr.json", lambda c: c.update(shape=[10**12, 6, 2])), "files are missing"),
    "huge block": (
        edited(
            "scan/time_s/zarr.json",
            lambda c: (c.update(shape=[10**12]), c["chunk_grid"]["configuration"].update(chunk_shape=[10**12])),
        ),
        "too small",
    ),
    "deep": (lambda e: [["zarr.json", b"[" * 100_000, 0], *(x for x in e if x[0] != "zarr.json")], "damaged"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_zips_are_refused(container, tmp_path, case):
    change, message = HOSTILE[case]
    packed = rewritten(io.pack(container[0]), tmp_path / "b.esteem.zip", change)
    for call in (io.load, io.info, io.source, io.verify):
        if call is io.info and case in ("huge", "huge block"):
            continue  # reads no data
        with pytest.raises(FormatError, match=message):
            call(packed)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(container, tmp_path):
    packed = rewritten(io.pack(container[0]), tmp_path / "b.esteem.zip", lambda e: [*e, e[0]])
    with pytest.raises(FormatError, match="two files"):
        io.load(packed)


def test_a_missing_or_changed_block_is_named(container, tmp_path):
    packed = io.pack(container[0])
    block = next(p for p in (container[0] / "signals" / "eds").glob("c.*")).name
    name = f"signals/eds/{block}"
    missing = rewritten(packed, tmp_path / "b.esteem.zip", lambda e: [x for x in e if x[0] != name])
    assert "its file is missing" in io.verify(missing)[0]
    with zipfile.ZipFile(packed) as file:
        info = file.getinfo(name)
    data = bytearray(packed.read_bytes())
    data[info.header_offset + 30 + len(name) + 12] ^= 1
    (tmp_path / "c.esteem.zip").write_bytes(data)
    assert "changed" in io.verify(tmp_path / "c.esteem.zip")[0]
    dataset = io.load(tmp_path / "c.esteem.zip")
    assert dataset.signals["frames"].data[0].shape == (6, 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_zip_is_a_format_error_or_harmless(container, tmp_path, data):
    path, frames, counts = container
    packed = tmp_path / "fuzz.esteem.zip"
    content = bytearray(io.pack(path, packed, overwrite=True).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    packed.write_bytes(content)
    for call in (io.load, io.info):
        with contextlib.suppress(FormatError):
            call(packed)
    try:
        damage, dataset = io.verify(packed), io.load(packed)
    except FormatError as error:
        assert str(packed) in str(error) or "cannot be" in str(error)  # noqa: PT017
        return
    assert tuple(dataset.signals) == ("frames", "eds")
    for name, truth in (("frames", frames), ("eds", counts)):
        stored = dataset.signals[name].data
        try:
            found = stored.load().to_dense() if name == "eds" else events.unpack_bits(np.asarray(stored), 16)
        except FormatError:
            assert damage  # what cannot be read was found by verify
        else:
            np.testing.assert_array_equal(found, truth)
    if not damage:
        np.testing.assert_array_equal(dataset.scan.index, io.load(path).scan.index)
        np.testing.assert_array_equal(dataset.scan.time_s, np.arange(50.0))
        assert dataset.metadata["credits"] == {"title": "packed"}


def test_each_changed_byte_of_a_block_is_found(container, tmp_path):
    packed = io.pack(container[0])
    with zipfile.ZipFile(packed) as file:
        infos = [info for info in file.infolist() if "/c." in info.filename]
    assert len(infos) >= 4
    for info in infos:
        for place in np.linspace(0, info.file_size - 1, 5).astype(int):
            data = bytearray(packed.read_bytes())
            data[info.header_offset + 30 + len(info.filename) + place] ^= 1
            (tmp_path / "c.esteem.zip").write_bytes(data)
            assert len(io.verify(tmp_path / "c.esteem.zip")) == 1, (info.filename, place)


def test_a_zip_that_is_none(tmp_path):
    (tmp_path / "a.esteem.zip").write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match="no zip, or it is damaged"):
        io.load(tmp_path / "a.esteem.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("x", "y")
    with pytest.raises(FormatError):
        io.load(tmp_path / "b.zip")
