"""Exports, read back by RosettaSciIO: the same values on the same axes, and refusals in words."""

from __future__ import annotations

import errno
import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from esteemcore import io
from esteemcore.errors import CancelledError, ParameterError, StreamError
from esteemcore.events import SparseSI, pack_bits
from esteemcore.io import durable, exports
from esteemcore.io.export_blocks import EventBlocks
from esteemcore.io.exports import export

READERS = {".hspy": "hspy", ".zspy": "zspy", ".nxs": "nexus", ".emd": "emd", ".tif": "tiff"}
STREAMED = (".hspy", ".zspy", ".nxs")


@pytest.fixture
def truth(rng):
    """Dense values of every signal, frames on the grid."""
    return {
        "eels": rng.poisson(3, (6, 7, 50)).astype(np.float32),
        "eds": rng.poisson(0.05, (5, 8, 60)).astype(np.uint16),
        "adf": rng.normal(size=(9, 11)).astype(np.float32),
        "series": rng.integers(0, 999, (3, 9, 11)).astype(np.uint16),
        "frames": (rng.random((5, 6, 16, 20)) < 0.3).astype(np.uint8),
    }


@pytest.fixture
def dataset(truth, rng):
    """Signals of every kind, the frames packed and in random order."""
    order = rng.permutation(30)
    y, x = io.Axis("y", 9, 0.2, 1, "nm"), io.Axis("x", 11, 0.3, 2, "nm")
    energy = {"eels": io.Axis("energy", 50, 0.5, 280, "eV"), "eds": io.Axis("energy", 60, 0.01, -0.1, "keV")}
    frames = pack_bits(truth["frames"].reshape(30, 16, 20)[order].astype(bool))
    signals = {
        "eels": io.Signal(truth["eels"], (io.Axis("y", 6), io.Axis("x", 7), energy["eels"])),
        "eds": io.Signal(
            SparseSI.from_dense(truth["eds"]), (io.Axis("y", 5), io.Axis("x", 8), energy["eds"]), "events"
        ),
        "adf": io.Signal(truth["adf"], (y, x)),
        "series": io.Signal(truth["series"], (io.Axis("frame", 3), y, x)),
        "frames": io.Signal(frames, (io.Axis("frame", 30), io.Axis("ky", 16), io.Axis("kx", 20)), "packed", (16, 20)),
    }
    return io.Dataset(
        signals,
        io.ScanRecord((5, 6), index=order, step_nm=0.05),
        {"beam_energy_kev": 200.0, "semiangle_mrad": 20.0, "pixel_mrad": 2.5, "center": (8.0, 9.0)},
        {
            "credits": {"title": "A/B", "authors": ["Curie, Marie", "Curie, Pierre"], "license": "CC-BY-4.0"},
            "specimen": {"name": "pitchblende", "elements": ["Ra", "U"]},
            "created": "1898-12-26T11:00:00+00:00",
            "provenance": {"function": "io.Writer"},
        },
    )


@pytest.fixture(params=["in memory", "stored"])
def given(request, dataset, tmp_path):
    """The same data set in memory and in a container."""
    if request.param == "in memory":
        return dataset
    io.save(tmp_path / "given.esteem", dataset)
    return io.load(tmp_path / "given.esteem")


def read(path: Path) -> dict:
    module = importlib.import_module(f"rsciio.{READERS[path.suffix]}")
    options = {"nxdata_only": True} if path.suffix == ".nxs" else {}  # else every axis is a signal to it
    (entry,) = module.file_reader(str(path), **options)
    return entry


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("name", ["eels", "eds", "adf", "series", "frames"])
def test_values_and_axes_come_back(given, truth, tmp_path, name, suffix) -> None:
    path = tmp_path / f"{name}{suffix}"
    if suffix == ".tif" and name in ("eels", "eds", "frames"):
        with pytest.raises(ParameterError, match="TIFF holds an image or a stack of images"):
            export(path, given, signal=name)
        assert not path.exists()
        return
    made = export(path, given, signal=name)
    entry = read(path)
    np.testing.assert_array_equal(entry["data"], truth[name])
    assert entry["data"].dtype == truth[name].dtype
    for axis, found in zip(made.axes, entry["axes"], strict=True):
        assert found["size"] == axis.size
        assert float(found["scale"]) == pytest.approx(axis.scale)
        assert float(found["offset"]) == pytest.approx(axis.offset)
        assert (found["units"] or "") == axis.unit
        if suffix != ".tif":
            assert found["name"] == axis.name
    if suffix in STREAMED:
        moving = {"eels": 2, "eds": 2, "adf": 0, "series": 1, "frames": 2}[name]
        assert [bool(axis["navigate"]) for axis in entry["axes"]] == [i < moving for i in range(len(made.axes))]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".esteem") == [path.name]


def test_calibrations_of_scan_and_detector_reach_the_axes(given, tmp_path) -> None:
    axes = export(tmp_path / "a.hspy", given, signal="frames").axes
    assert [(a.name, a.scale, a.offset, a.unit) for a in axes] == [
        ("y", 0.05, 0.0, "nm"),
        ("x", 0.05, 0.0, "nm"),
        ("ky", 2.5, -20.0, "mrad"),
        ("kx", 2.5, -22.5, "mrad"),
    ]
    again = io.load(tmp_path / "a.hspy")
    assert again.geometry["scan_step_nm"] == pytest.approx(0.05)
    assert again.geometry["pixel_mrad"] == pytest.approx(2.5)
    assert again.geometry["semiangle_mrad"] == 20


@pytest.mark.parametrize("suffix", STREAMED)
def test_metadata_in_the_words_of_hyperspy(given, tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    assert export(path, given, signal="eels").signal_type == "EELS"
    metadata = read(path)["metadata"]
    assert metadata["Signal"]["signal_type"] == "EELS"
    general = metadata["General"]
    if suffix == ".nxs":  # its reader replaces General by the title, though the file has it
        with h5py.File(path) as file:
            stored = file["entry1/auxiliary/hyperspy_metadata/General"]
            general = {key: value[()].decode() for key, value in stored.items()}
    assert general["title"] == "A-B"
    assert general["authors"] == "Curie, Marie; Curie, Pierre"
    assert (general["date"], general["time"]) == ("1898-12-26", "11:00:00")
    assert json.loads(metadata["Esteem"]["provenance"])
    assert metadata["Acquisition_instrument"]["TEM"]["beam_energy"] == 200
    assert metadata["Acquisition_instrument"]["TEM"]["convergence_angle"] == 20
    assert np.asarray(metadata["Sample"]["elements"]).astype("U").tolist() == ["Ra", "U"]
    assert json.loads(metadata["Esteem"]["credits"])["license"] == "CC-BY-4.0"
    assert metadata["Esteem"]["signal"] == "eels"


@pytest.mark.parametrize(
    ("name", "last", "kind"),
    [
        ("eels", ("energy", "eV"), "EELS"),
        ("spectra", ("energy", "eV"), "EELS"),
        ("spectra", ("energy", "keV"), "EDS_TEM"),
        ("eds sum", ("energy", "eV"), "EDS_TEM"),
        ("spectra", ("energy", ""), ""),
        ("spectra", ("wavelength", "nm"), "CL"),
        ("image", ("x", "nm"), ""),
    ],
)
def test_kind_of_a_signal(tmp_path, name, last, kind) -> None:
    axes = (io.Axis("y", 2), io.Axis("z", 3), io.Axis(last[0], 4, unit=last[1]))
    one = io.Dataset({name: io.Signal(np.ones((2, 3, 4)), axes)})
    assert export(tmp_path / "a.hspy", one).signal_type == kind
    assert export(tmp_path / "b.hspy", one, signal_type="PL").signal_type == "PL"


def test_frames_stay_in_visit_order_where_the_scan_has_gaps(tmp_path, rng) -> None:
    index = np.array([3, 0, 3, 5])
    frames = rng.integers(0, 9, (4, 8, 8)).astype(np.uint8)
    axes = (io.Axis("frame", 4), io.Axis("ky", 8), io.Axis("kx", 8))
    gaps = io.Dataset({"frames": io.Signal(frames, axes, frame_shape=(8, 8))}, io.ScanRecord((2, 3), index=index))
    made = export(tmp_path / "a.hspy", gaps)
    assert made.notes == ("frames in visit order: not every position has exactly one",)
    entry = read(tmp_path / "a.hspy")
    np.testing.assert_array_equal(entry["data"], frames)
    np.testing.assert_array_equal(entry["metadata"]["Esteem"]["scan"]["index"], index)


def test_unequal_steps(tmp_path, rng) -> None:
    values = np.linspace(300, 500, 20) ** 1.01
    axes = (io.Axis("y", 3), io.Axis("x", 4), io.Axis("wavelength", 20, unit="nm", values=tuple(values)))
    one = io.Dataset({"cl": io.Signal(rng.normal(size=(3, 4, 20)), axes)})
    for suffix in (".hspy", ".zspy"):
        export(tmp_path / f"a{suffix}", one)
        np.testing.assert_allclose(read(tmp_path / f"a{suffix}")["axes"][2]["axis"], values)
    export(tmp_path / "a.nxs", one)
    with h5py.File(tmp_path / "a.nxs") as file:
        np.testing.assert_allclose(file["entry1/cl/Wavelength"][:], values)
    for suffix in (".emd", ".tif", ".nhdf"):
        with pytest.raises(ParameterError, match="the steps of axis 'Wavelength'"):
            export(tmp_path / f"a{suffix}", one)


class _Counted:
    """A lazy array that remembers the largest part that was read of it, and cannot be read at once."""

    def __init__(self, shape) -> None:
        self.shape, self.dtype, self.ndim, self.largest = shape, np.dtype(np.uint16), len(shape), 0

    def __getitem__(self, part):
        shape = tuple(len(range(n)[p]) for n, p in zip(self.shape, part, strict=True))
        self.largest = max(self.largest, int(np.prod(shape)))
        return np.ones(shape, np.uint16)

    def __array__(self, *_, **__):
        raise AssertionError("read at once")


@pytest.mark.parametrize("suffix", [".hspy", ".zspy", ".nxs", ".h5", ".nhdf", ".ndata", ".ndata1"])
def test_large_signals_are_read_in_parts(tmp_path, suffix) -> None:
    data = _Counted((16, 64, 4096))
    axes = (io.Axis("y", 16), io.Axis("x", 64), io.Axis("energy", 4096, unit="eV"))
    done = []
    export(tmp_path / f"a{suffix}", io.Dataset({"eels": io.Signal(data, axes)}), memory_bytes=0, progress=done.append)
    assert data.largest * 2 <= 4 * 2**20
    assert done[-1] == 1
    assert done == sorted(done)


def test_formats_that_are_written_as_a_whole_say_when_that_is_too_much(dataset, tmp_path) -> None:
    for name, suffix in (("eels", ".emd"), ("adf", ".tif")):
        with pytest.raises(ParameterError, match=r"are allowed in memory \(memory_bytes\)"):
            export(tmp_path / f"a{suffix}", dataset, signal=name, memory_bytes=100)
    io.save(tmp_path / "d.esteem", dataset)
    with pytest.raises(ParameterError, match="to sort them they must be in memory"):
        export(tmp_path / "a.hspy", io.load(tmp_path / "d.esteem"), signal="frames", memory_bytes=100)
    shape = (1024, 1024, 4096)
    axes = tuple(io.Axis(name, size) for name, size in zip(("y", "x", "energy"), shape, strict=True))
    huge = io.Dataset({"eels": io.Signal(_Counted(shape), axes)})
    with pytest.raises(ParameterError, match=r"choose \.nhdf"):
        export(tmp_path / "a.ndata", huge)
    assert [p.name for p in tmp_path.iterdir()] == ["d.esteem"]


@pytest.mark.parametrize("frames", [0, 3])
def test_events_are_dense_part_by_part(tmp_path, rng, frames) -> None:
    shape = (frames, 37, 41, 30) if frames else (37, 41, 30)
    counts = rng.poisson(0.1, shape).astype(np.uint16)
    axes = [io.Axis("y", 37), io.Axis("x", 41), io.Axis("energy", 30)]
    axes = [io.Axis("frame", frames), *axes] if frames else axes
    events = SparseSI.from_dense(counts)
    io.save(tmp_path / "e.esteem", io.Dataset({"eds": io.Signal(events, tuple(axes), "events")}))
    stored = io.load(tmp_path / "e.esteem").signals["eds"].data
    for view in (EventBlocks(events), EventBlocks(stored)):
        for _ in range(20):
            low = [int(rng.integers(0, n)) for n in shape]
            part = tuple(slice(a, int(rng.integers(a, n + 1))) for a, n in zip(low, shape, strict=True))
            np.testing.assert_array_equal(view[part], counts[part])


def test_refusals(dataset, tmp_path) -> None:
    with pytest.raises(ParameterError, match="there are several signals: name one of 'eels'"):
        export(tmp_path / "a.hspy", dataset)
    with pytest.raises(ParameterError, match="there is no signal 'x'"):
        export(tmp_path / "a.hspy", dataset, signal="x")
    with pytest.raises(ParameterError, match=r"end it in \.hspy"):
        export(tmp_path / "a.docx", dataset, signal="adf")
    export(tmp_path / "a.zspy", dataset, signal="adf")
    with pytest.raises(ParameterError, match="exists already"):
        export(tmp_path / "a.zspy", dataset, signal="adf")
    export(tmp_path / "a.zspy", dataset, signal="series", overwrite=True)
    assert read(tmp_path / "a.zspy")["data"].ndim == 3
    with pytest.raises(StreamError, match="cannot be written"):
        export(tmp_path / "nowhere" / "a.ndata", dataset, signal="adf")
    stop = threading.Event()
    stop.set()
    for suffix in exports.FORMATS:
        with pytest.raises(CancelledError):
            export(tmp_path / f"b{suffix}", dataset, signal="adf", cancel=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zspy"]


def test_a_foreign_file_keeps_what_it_said(real, tmp_path) -> None:
    before = io.load(real("EELS_SI.dm4"))
    export(tmp_path / "a.hspy", before)
    after = io.load(tmp_path / "a.hspy")
    (a,), (b,) = before.signals.values(), after.signals.values()
    np.testing.assert_array_equal(np.asarray(a.data), np.asarray(b.data))
    assert [(x.name, x.unit) for x in a.axes] == [(x.name, x.unit) for x in b.axes]
    assert b.metadata["Signal"]["signal_type"] == a.metadata["Signal"]["signal_type"]
    assert b.metadata["General"]["title"] == a.metadata["General"]["title"]


def tree(path):
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {p.name if p == path else p.relative_to(path).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("suffix", [".zspy", ".hspy", ".tif", ".ndata1", ".nhdf"])
@pytest.mark.parametrize("step", ["sync_tree", "replace"])
def test_the_old_file_stays_when_the_disk_refuses(dataset, tmp_path, monkeypatch, suffix, step) -> None:
    path = tmp_path / f"a{suffix}"
    export(path, dataset, signal="adf")
    before = tree(path)
    real, calls = getattr(durable, step), []

    def refuse(*args):
        calls.append(args)
        if suffix == ".zspy" and step == "replace" and len(calls) != 2:
            return real(*args)  # the old folder is moved aside, and back after the failure
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable, step, refuse)
        with pytest.raises(StreamError, match="the disk is full"):
            export(path, dataset, signal="series", overwrite=True)
    assert calls
    assert tree(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    export(path, dataset, signal="series", overwrite=True)
    assert tree(path) != before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


FULL = """
import resource, signal, sys
import numpy as np
from esteemcore import io
from esteemcore.errors import StreamError
values = np.random.default_rng(0).random((40, 40, 60)).astype(np.float32)
axes = (io.Axis("y", 40), io.Axis("x", 40), io.Axis("energy", 60))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
for suffix in sys.argv[2:]:
    try:
        io.export(f"{sys.argv[1]}/a{suffix}", io.Dataset({"eels": io.Signal(values, axes)}))
    except StreamError as error:
        print(suffix, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_gets_full_while_exporting(tmp_path) -> None:
    suffixes = (".zspy", ".ndata1")
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path), *suffixes]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in told] == list(suffixes)
    assert all("cannot be written: the disk takes no files of this size" in line for line in told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", sorted(exports.FORMATS))
def test_exports_stop_before_the_disk_is_full(dataset, tmp_path, monkeypatch, suffix) -> None:
    """HDF5 crashes when it meets a full disk; it must not come to that."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10**6))
    with pytest.raises(StreamError, match=r"is full: the next part takes up to 0\.0 MB, and 1\.0 MB are free"):
        export(tmp_path / f"a{suffix}", dataset, signal="adf")
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_disk_that_hdf5_only_tells(dataset, tmp_path, monkeypatch) -> None:
    def refuse(path, made):
        path.write_bytes(b"half")
        raise RuntimeError(words)

    monkeypatch.setitem(exports.FORMATS, ".hspy", ("HyperSpy", refuse))
    words = "Can't decrement id ref count (unable to extend file properly, errno = 28, error message = 'No space')"
    with pytest.raises(StreamError, match="the disk is full"):
        export(tmp_path / "a.hspy", dataset, signal="adf")
    words = "something else"
    with pytest.raises(RuntimeError, match="something else"):
        export(tmp_path / "a.hspy", dataset, signal="adf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".zspy", ".nhdf"])
def test_what_is_exported_is_durable_before_it_has_its_name(dataset, tmp_path, monkeypatch, suffix) -> None:
    done = []
    sync, replace = durable.sync_tree, durable.replace
    monkeypatch.setattr(durable, "sync_tree", lambda path: done.append("sync") or sync(path))
    monkeypatch.setattr(durable, "replace", lambda a, b: done.append("rename") or replace(a, b))
    export(tmp_path / f"a{suffix}", dataset, signal="adf")
    assert [step for n, step in enumerate(done) if step not in done[:n]] == ["sync", "rename"]


def test_a_cancelled_export_leaves_the_old_file(dataset, tmp_path) -> None:
    export(tmp_path / "a.zspy", dataset, signal="adf")
    before, cancel = tree(tmp_path), threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        export(tmp_path / "a.zspy", dataset, signal="eels", overwrite=True, cancel=cancel)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["empty", "foreign", "ours and more", "of HyperSpy", "link", "file", "damaged"])
def test_folders_of_others_are_never_replaced(dataset, tmp_path, kind) -> None:
    path = tmp_path / "a.zspy"
    if kind in ("empty", "foreign"):
        path.mkdir()
    else:
        export(path, dataset, signal="adf")
    if kind in ("foreign", "ours and more"):
        (path / "thesis.txt").write_text("x")
    elif kind == "of HyperSpy":
        (path / ".zattrs").write_text(json.dumps({"file_format": "ZSpy", "file_format_version": "3.3"}))
    elif kind == "damaged":
        (path / ".zattrs").write_text("[" * 5000)
    elif kind == "link":
        path.rename(tmp_path / "b.zspy")
        path.symlink_to(tmp_path / "b.zspy", target_is_directory=True)
    elif kind == "file":
        shutil.rmtree(path)
        path.write_text("x")
    before = tree(tmp_path)
    with pytest.raises(ParameterError, match="exists already"):
        export(path, dataset, signal="series")
    with pytest.raises(ParameterError, match="was not written by Esteem, or has other files in it"):
        export(path, dataset, signal="series", overwrite=True)
    assert tree(tmp_path) == before
    assert path.exists()


def test_a_folder_is_not_replaced_by_a_file(dataset, tmp_path) -> None:
    (tmp_path / "a.hspy").mkdir()
    with pytest.raises(ParameterError, match="is no file"):
        export(tmp_path / "a.hspy", dataset, signal="adf", overwrite=True)
    assert list((tmp_path / "a.hspy").iterdir()) == []


def test_many_threads_read_events_as_a_dense_array(tmp_path, rng) -> None:
    counts = rng.poisson(0.05, (6, 24, 24, 40)).astype(np.uint16)
    signals = {"eds": io.SeriesSignal((24, 24, 40), np.uint16, kind="events")}
    with io.SeriesWriter(tmp_path / "a.esteem", signals) as writer:
        for frame in counts:
            writer.append({"eds": frame})
    view = EventBlocks(io.load(tmp_path / "a.esteem").signals["eds"].data)
    parts = []
    for _ in range(600):
        low = [int(rng.integers(0, size)) for size in counts.shape]
        parts.append(tuple(slice(a, int(rng.integers(a, size)) + 1) for a, size in zip(low, counts.shape, strict=True)))

    class Guarded(OrderedDict):
        """Says when it is touched by a thread that does not hold the lock."""

        def get(self, *args):
            alone.append(view._keeping.locked())
            return super().get(*args)

        def __setitem__(self, *args):
            alone.append(view._keeping.locked())
            super().__setitem__(*args)

        def popitem(self, *args, **more):
            alone.append(view._keeping.locked())
            return super().popitem(*args, **more)

    view._kept, alone = Guarded(), []
    start = threading.Barrier(8)

    def read(some):
        start.wait(60)
        return [np.array_equal(view[part], counts[part]) for part in some]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            same = list(pool.map(read, [parts[n::8] for n in range(8)]))
    finally:
        sys.setswitchinterval(interval)
    assert np.all([np.all(part) for part in same])
    assert len(alone) > 600
    assert all(alone)
    assert 0 < len(view._kept) <= view._most
    again = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(again[parts[0]], counts[parts[0]])
