from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from esteemcore import events, io, stream
from esteemcore.errors import CancelledError, FormatError, ParameterError, StreamError
from esteemcore.io import durable

HERE = Path(__file__).parent


def axes(*names_and_sizes):
    return tuple(io.Axis(name, size) for name, size in names_and_sizes)


def golden_maker():
    spec = importlib.util.spec_from_file_location("make_golden", HERE / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_importing_costs_nothing():
    code = "import sys, esteemcore.io; print([m for m in ('zarr', 'rsciio', 'dask', 'h5py') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_array_is_saved_and_sliced(tmp_path_factory, data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7))
    dtype = data.draw(st.sampled_from(["?", "i1", ">u2", "u4", "i8", "f2", ">f4", "f8", "c8", "c16"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = rng.integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.mktemp("save") / "a.esteem"
    names = tuple(f"axis{i}" for i in range(len(shape)))
    signal = io.Signal(array, axes(*zip(names, shape, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("esteemcore.io.choose_codec"), "BLOCK_BYTES", 64)
        io.save(path, io.Dataset({"a": signal}))
    stored = io.load(path).signals["a"].data
    np.testing.assert_array_equal(np.asarray(stored), array)
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype.newbyteorder("="))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    np.testing.assert_array_equal(stored[key], array[key])
    rows = rng.integers(-shape[0], shape[0], 5)
    np.testing.assert_array_equal(stored[rows], array[rows])
    np.testing.assert_array_equal(zarr.open(path, mode="r")["signals/a"][...], array)
    assert io.verify(path) == []


def test_a_data_set_comes_back(tmp_path, rng):
    frames = (rng.random((12, 5, 9)) < 0.2).astype(np.uint8)
    dataset = io.Dataset(
        signals={
            "frames": io.Signal(
                events.pack_bits(frames), axes(("frame", 12), ("ky", 5), ("kx", 9)), "packed", (5, 9), {"bits": 1}
            ),
            "adf": io.Signal(rng.random((3, 4)), (io.Axis("y", 3, 0.1, 0.5, "nm"), io.Axis("x", 4, 0.1, -0.5, "nm"))),
            "si": io.Signal(
                dask.array.from_array(rng.integers(0, 9, (3, 4, 50)), chunks=2),
                axes(("y", 3), ("x", 4), ("energy", 50)),
            ),
        },
        scan=io.ScanRecord(
            (3, 4),
            index=rng.permutation(12),
            visit=np.repeat([0, 1], 6),
            positions=rng.random((12, 2)),
            time_s=np.where(np.arange(12) < 6, np.arange(12.0), np.nan),
            dwell_s=1e-3,
            step_nm=(0.1, 0.2),
            rotation_deg=12.0,
        ),
        geometry={"beam_energy_kev": 60.0, "center": (2.5, 4.0)},
        metadata={"specimen": {"name": "x", "thickness_nm": np.float32(3)}, "note": "a", "missing": float("nan")},
    )
    io.save(tmp_path / "a.esteem", dataset)
    back = io.load(tmp_path / "a.esteem")
    for name, signal in dataset.signals.items():
        np.testing.assert_array_equal(np.asarray(back.signals[name].data), np.asarray(signal.data))
        assert back.signals[name].axes == signal.axes
        assert (back.signals[name].kind, back.signals[name].frame_shape) == (signal.kind, signal.frame_shape)
    for name in ("index", "visit", "positions", "time_s"):
        np.testing.assert_array_equal(getattr(back.scan, name), getattr(dataset.scan, name))
    for name in ("shape", "dwell_s", "flyback_s", "step_nm", "rotation_deg"):
        assert getattr(back.scan, name) == getattr(dataset.scan, name)
    assert back.geometry == dataset.geometry
    assert back.metadata["specimen"] == {"name": "x", "thickness_nm": 3.0}
    assert back.metadata["missing"] == "nan"
    assert any("one-bit frames" in line for line in back.describe())
    io.save(tmp_path / "b.esteem", back)
    assert io.load(tmp_path / "b.esteem").metadata["provenance"]["of"] == str(tmp_path / "a.esteem")
    with pytest.raises(ParameterError, match="exists already"):
        io.save(tmp_path / "b.esteem", back)
    io.save(tmp_path / "b.esteem", io.Dataset({"adf": dataset.signals["adf"]}), overwrite=True)
    assert list(io.load(tmp_path / "b.esteem").signals) == ["adf"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.esteem", "b.esteem"]


def test_what_must_stay_is_refused_before_anything_is_read(tmp_path):
    class Unread:
        shape, dtype = (4, 5), np.dtype("f4")

        def __getitem__(self, key):
            raise AssertionError("was read")

    (tmp_path / "a.esteem").mkdir()
    dataset = io.Dataset({"adf": io.Signal(Unread(), axes(("y", 4), ("x", 5)))})
    for overwrite, message in ((False, "exists already"), (True, "not a container")):
        with pytest.raises(ParameterError, match=message):
            io.save(tmp_path / "a.esteem", dataset, overwrite=overwrite)


def test_an_order_without_frames_is_kept(tmp_path):
    image = io.Signal(np.ones((2, 3)), axes(("y", 2), ("x", 3)))
    scan = io.ScanRecord((2, 3), index=np.array([5, 0, 3]))
    io.save(tmp_path / "a.esteem", io.Dataset({"adf": image}, scan))
    np.testing.assert_array_equal(io.load(tmp_path / "a.esteem").scan.index, [5, 0, 3])


def test_saving_can_be_cancelled_and_leaves_nothing(tmp_path, monkeypatch):
    cancel = threading.Event()
    cancel.set()
    dataset = io.Dataset({"a": io.Signal(np.ones((2, 3)), axes(("y", 2), ("x", 3)))})
    with pytest.raises(CancelledError):
        io.save(tmp_path / "a.esteem", dataset, cancel=cancel)
    assert list(tmp_path.iterdir()) == []

    def full(path, pieces):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_file", full)
    with pytest.raises(StreamError, match="the disk is full; nothing was changed"):
        io.save(tmp_path / "a.esteem", dataset)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_refused(tmp_path):
    image = io.Signal(np.ones((2, 3)), axes(("y", 2), ("x", 3)))
    table = io.Signal(events.EventTable([0, 1], [3], [1]), axes(("frame", 1), ("ky", 2), ("kx", 2)), "events", (2, 2))
    words = io.Signal(np.array(["a"]), axes(("y", 1)))
    for name, signal, message in (
        ("../up", image, "name of a signal"),
        ("events", table, "events"),
        ("words", words, "dtype"),
    ):
        with pytest.raises(ParameterError, match=message):
            io.save(tmp_path / "a.esteem", io.Dataset({name: signal}))
    for dataset, kind in ((None, "NoneType"), ({"image": image}, "dict"), (np.ones((2, 3)), "ndarray")):
        for write, suffix in ((io.save, ".esteem"), (io.export, ".hspy")):
            with pytest.raises(ParameterError, match=rf"dataset is a {kind}; expected an io\.Dataset"):
                write(tmp_path / f"a{suffix}", dataset)
    (tmp_path / "link.esteem").symlink_to(tmp_path / "nowhere")
    for name, message in (
        ("a.hspy", r"\.esteem"),
        ("x" * 250 + ".esteem", "too long a name"),
        ("link.esteem", "link to a place that does not exist"),
    ):
        with pytest.raises(ParameterError, match=message):
            io.save(tmp_path / name, io.Dataset({"image": image}))
    (tmp_path / "link.esteem").unlink()
    with pytest.raises(ParameterError, match="axes say"):
        io.Signal(np.ones((2, 3)), axes(("y", 2), ("x", 4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [None, 5, ["a.esteem"]], ids=repr)
def test_what_is_no_path_is_refused_in_words(given):
    for read in (io.load, io.info, io.verify, io.pack):
        with pytest.raises(ParameterError, match="expected the name of a file or folder"):
            read(given)


def test_metadata_that_no_file_can_hold_become_text(tmp_path):
    endless: list = []
    endless.append(endless)
    deep = {"bottom": True}
    for _ in range(2000):
        deep = {"in": deep}
    name = b"r\xe9sum\xe9.dm4".decode("utf-8", "surrogateescape")  # a file that was named in Latin-1
    image = io.Signal(np.ones((2, 3)), axes(("y", 2), ("x", 3)))
    metadata = {"endless": endless, "deep": deep, "file": name, name: 1, "note": "é"}
    io.save(tmp_path / "a.esteem", io.Dataset({"image": image}, metadata=metadata))
    back = io.load(tmp_path / "a.esteem").metadata
    assert back["file"] == r"r\udce9sum\udce9.dm4"
    assert back[r"r\udce9sum\udce9.dm4"] == 1
    assert back["note"] == "é"
    level = back["deep"]
    while isinstance(level, dict):
        level = level["in"]
    assert "bottom" in level
    level = back["endless"]
    while isinstance(level, list):
        (level,) = level
    assert level == "[[...]]"


@pytest.fixture
def container(tmp_path, rng):
    """A container of 50 frames in 4 blocks, and its frames."""
    frames = rng.integers(0, 256, (50, 6, 2)).astype(np.uint8)
    with io.Writer(tmp_path / "a.esteem", stream.Spec((5, 10), (6, 16), np.uint8, packed=True), block=16) as writer:
        writer.append(stream.Chunk(np.arange(50), frames, time_s=np.arange(50.0)))
    return tmp_path / "a.esteem", frames


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut, empty, remove])
def test_damaged_frames_are_named_and_the_others_are_readable(container, damage):
    path, frames = container
    damage(path / "signals" / "frames" / "c.1.0.0")
    data = io.load(path).signals["frames"].data
    for part in (slice(0, 16), slice(32, 50), slice(40, 20, -1)):
        if part.step is None:
            np.testing.assert_array_equal(data[part], frames[part])
    for key in (16, slice(10, 20), slice(None), [3, 31]):
        with pytest.raises(FormatError, match=r"signal 'frames': frames 16 to 31 cannot be read.*the rest is readable"):
            data[key]
    source = io.source(path)
    assert sum(map(len, source.chunks(32, 50))) == 18
    with pytest.raises(FormatError, match="frames 16 to 31"):
        list(source.chunks())
    assert len(io.verify(path)) == 1


@pytest.mark.parametrize("damage", [flip, cut, empty, remove])
def test_lost_positions_are_noted_and_do_not_lose_the_frames(container, damage):
    path, frames = container
    damage(path / "scan" / "index" / "c.3")
    dataset = io.load(path)
    assert "scan/index: frames 48 to 49 cannot be read" in dataset.notes[0]
    np.testing.assert_array_equal(np.asarray(dataset.signals["frames"].data), frames)
    np.testing.assert_array_equal(dataset.scan.index, [*range(48), -1, -1])
    source = io.source(dataset)
    assert sum(map(len, source.chunks(0, 48))) == 48
    with pytest.raises(FormatError, match="positions of frames 48 to 49 are lost"):
        list(source.chunks(40, 50))
    assert len(io.verify(path)) == 1


def test_a_lost_order_is_not_taken_for_a_raster(container):
    path, frames = container
    shutil.rmtree(path / "scan" / "index")
    dataset = io.load(path)
    assert "is missing" in dataset.notes[0]
    np.testing.assert_array_equal(np.asarray(dataset.signals["frames"].data), frames)
    with pytest.raises(FormatError, match="positions of frames 0 to 49 are lost"):
        list(io.source(path).chunks())


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_damaged_or_foreign_metadata(container, tmp_path):
    path, _ = container
    root, array = path / "zarr.json", path / "signals" / "frames" / "zarr.json"
    saved = {file: file.read_text() for file in (root, array)}
    cases = (
        (root, lambda c: c["attributes"]["esteem"].update(version=3), "version 3; .* install a newer"),
        (root, lambda c: c["attributes"]["esteem"].update(version="x"), 'version "x"'),
        (root, lambda c: c["attributes"]["esteem"].pop("signals"), "lacks or spoils 'signals'"),
        (root, lambda c: c["attributes"]["esteem"].update(signals=["../../x"]), "name of a signal"),
        (root, lambda c: c["attributes"]["esteem"].update(scan={"shape": 3}), "scan"),
        (root, lambda c: c["attributes"].pop("esteem"), "not written by Esteem"),
        (root, lambda c: c.update(node_type="array"), "does not describe"),
        (array, lambda c: c.pop("shape"), "lacks or spoils 'shape'"),
        (array, lambda c: c.update(data_type="string"), "lacks or spoils 'string'"),
        (array, lambda c: c.update(codecs=[{"name": "bytes"}, {"name": "gzip"}]), "codecs bytes, gzip"),
        (array, lambda c: c.update(shape=[90, 6, 2]), "axes say"),
        (array, lambda c: c["attributes"]["esteem"].pop("axes"), "lacks or spoils 'axes'"),
    )
    for file, edit, message in cases:
        change(file, edit)
        with pytest.raises(FormatError, match=message) as caught:
            io.load(path)
        assert "\n" not in str(caught.value)
        file.write_text(saved[file])
    for file in (root, array):
        file.write_text(saved[file][:-20])
        with pytest.raises(FormatError, match="is damaged"):
            io.load(path)
        file.unlink()
        with pytest.raises(FormatError, match=r"missing|no zarr\.json"):
            io.load(path)
        file.write_text(saved[file])
    assert io.load(root).path == str(path)
    with pytest.raises(ParameterError, match="knows its scan"):
        io.load(path, scan_shape=(2, 2))


def test_a_stored_array_stays_lazy_and_travels(container):
    path, frames = container
    data = io.load(path).signals["frames"].data
    for place in range(1, 4):
        (path / "signals" / "frames" / f"c.{place}.0.0").unlink()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[3:12, 2], frames[3:12, 2])
    np.testing.assert_array_equal(dask.array.from_array(data, chunks=data.chunks)[:16].compute(), frames[:16])
    for wrong in ((0, 0, 0, 0), 50, -51, [50], (0, 6)):
        with pytest.raises(IndexError):
            data[wrong]


def test_old_containers_still_open():
    maker = golden_maker()
    index, dense, position = maker.frames()
    size = sum(f.stat().st_size for folder in maker.GOLDEN.glob("*_v1*") for f in folder.rglob("*") if f.is_file())
    assert size < 20_000
    dataset = io.load(maker.GOLDEN / "frames_v1.esteem")
    data = np.asarray(dataset.signals["frames"].data)
    np.testing.assert_array_equal(events.unpack_bits(data, 11), dense)
    np.testing.assert_array_equal(dataset.scan.index, index)
    np.testing.assert_array_equal(dataset.scan.visit, [0] * 20 + [1] * 10)
    np.testing.assert_array_equal(dataset.scan.positions[:20], position[:20])
    assert np.isnan(dataset.scan.positions[20:]).all()
    np.testing.assert_array_equal(dataset.scan.time_s[20:], np.arange(10) * 0.5)
    assert (dataset.scan.dwell_s, dataset.scan.step_nm) == (8e-5, (0.5, 0.25))
    assert dataset.geometry["aberrations"] == {"C12": (3.0, 0.5)}
    assert dataset.metadata["specimen"] == {"name": "golden"}
    assert dataset.notes == ()
    image = io.load(maker.GOLDEN / "image_v1.esteem").signals["si"]
    np.testing.assert_array_equal(np.asarray(image.data), maker.image().data)
    assert image.axes == maker.image().axes
    assert image.metadata == {"detector": "EELS"}


@pytest.mark.parametrize("name", ["series_v2.esteem", "series_v2.esteem.zip"])
def test_old_series_still_open(name):
    maker = golden_maker()
    size = sum(f.stat().st_size for f in maker.GOLDEN.glob("*_v2*.zip"))
    size += sum(f.stat().st_size for folder in maker.GOLDEN.glob("*_v2*") for f in folder.rglob("*") if f.is_file())
    assert size < 100_000
    dataset = io.load(maker.GOLDEN / name)
    assert io.verify(maker.GOLDEN / name) == []
    np.testing.assert_array_equal(dataset.signals["eds"].data.load().to_dense(), maker.counts())
    np.testing.assert_array_equal(np.asarray(dataset.signals["eels"].data), maker.spectra())
    np.testing.assert_array_equal(np.asarray(dataset.signals["adf"].data)[:, 0, 0], [0, 1])
    np.testing.assert_array_equal(dataset.series.time_s, [0, 2.5])
    np.testing.assert_array_equal(dataset.series.energy_offset_ev, [0, -0.25])
    np.testing.assert_array_equal(dataset.series.tilt_deg, [(0, 0), (1, -1)])
    np.testing.assert_array_equal(dataset.series.counts["eds"], maker.counts().sum(axis=(1, 2, 3)))
    assert dataset.signals["eds"].metadata == {"detector": "EDS"}
    assert dataset.signals["adf"].axes[1] == io.Axis("y", 7, 0.5, unit="nm")
    assert dataset.credits.authors[0].orcid == "0000-0002-1825-0097"
    assert dataset.notes == ()


def test_old_blocks_of_every_codec_still_open():
    maker = golden_maker()
    signals = io.load(maker.GOLDEN / "codecs_v2.esteem").signals
    np.testing.assert_array_equal(events.unpack_bits(np.asarray(signals["frames"].data), 11), maker.frames()[1])
    expected = maker.spectra()
    error = np.abs(np.asarray(signals["bounded"].data) - expected)
    assert (error <= 0.25 * np.sqrt(expected)).all()
    (loss,) = signals["bounded"].metadata["loss"]
    assert error.max() == pytest.approx(loss["largest_error"])


def test_the_documented_way_to_open_it_without_esteem(container, monkeypatch):
    path, frames = container
    text = (HERE.parents[1] / "docs" / "reference" / "format.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(path.parent)
    path.rename("scan.esteem")
    names: dict[str, object] = {}
    exec(code, names)
    np.testing.assert_array_equal(names["first"], events.unpack_bits(frames, 16))
    np.testing.assert_array_equal(names["rows"] * 10 + names["columns"], np.arange(50))


FRAMES = (io.Axis("frame", 10), io.Axis("ky", 6), io.Axis("kx", 7))


@pytest.mark.parametrize(
    ("column", "values"),
    [("index", np.arange(8)), ("index", np.arange(12)), ("time_s", np.zeros(9)), ("positions", np.zeros((11, 2)))],
)
def test_a_scan_that_does_not_fit_its_frames_is_not_saved(tmp_path, column, values) -> None:
    signal = io.Signal(np.zeros((10, 6, 7), np.uint8), FRAMES, frame_shape=(6, 7))
    dataset = io.Dataset({"frames": signal}, io.ScanRecord((4, 5), **{column: values}))
    with pytest.raises(ParameterError, match=f"10 frames, but the scan's {column}"):
        io.save(tmp_path / "a.esteem", dataset)
    assert not (tmp_path / "a.esteem").exists()


@pytest.mark.parametrize(
    "wrong", [{"index": [20]}, {"index": [0.5]}, {"index": [-2]}, {"dwell_s": "soon"}, {"step_nm": (1, 2, 3)}]
)
def test_a_scan_record_holds_positions_and_numbers(wrong) -> None:
    with pytest.raises(ParameterError):
        io.ScanRecord((4, 5), **wrong)


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("zarr.json", ["attributes"], 5),
        ("zarr.json", ["attributes"], None),
        ("zarr.json", ["attributes", "esteem", "scan", "dwell_s"], "x"),
        ("zarr.json", ["attributes", "esteem", "scan", "rotation_deg"], {}),
        ("zarr.json", ["attributes", "esteem", "scan", "step_nm"], [[["a"]]]),
        ("signals/frames/zarr.json", ["attributes", "esteem", "metadata"], [1, 2]),
        ("signals/frames/zarr.json", ["attributes", "esteem", "metadata"], "x"),
    ],
)
def test_metadata_of_another_kind_are_damage(tmp_path, file, keys, value) -> None:
    signal = io.Signal(np.zeros((10, 6, 7), np.uint8), FRAMES, frame_shape=(6, 7))
    path = tmp_path / "a.esteem"
    io.save(path, io.Dataset({"frames": signal}, io.ScanRecord((2, 5), dwell_s=1e-3)))
    content = json.loads((path / file).read_text(encoding="utf-8"))
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (path / file).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FormatError, match="damaged"):
        io.load(path)
