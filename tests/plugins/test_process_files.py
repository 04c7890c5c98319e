"""Containers in Nion Swift: what is exported comes back equal, and what cannot be is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nion.swift.model import ImportExportManager
from process_swift import KINDS, Swift, calibrated, in_files, in_memory, values

from esteemcore import events, io
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_process import from_dataset
from nionswift_plugin.esteem_process.computations import bragg_disks
from nionswift_plugin.esteem_process.to_dataset import make_dataset
from nionswift_plugin.esteem_scan import binding


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def export(app: Swift, item: Any, path: Path) -> None:
    """Do what File > Export does after its dialog."""
    display_item = app.display(item)
    writers = ImportExportManager.ImportExportManager().get_writers_for_display_item(display_item)
    writer = next(w for w in writers if path.suffix[1:] in w.extensions)
    ImportExportManager.ImportExportManager().write_display_item_with_writer(writer, display_item, path)


def assert_same(given: Any, found: Any) -> None:
    a, b = given.xdata, found.xdata
    assert np.array_equal(np.asarray(a.data), np.asarray(b.data), equal_nan=a.data_dtype.kind in "fc")
    assert (a.data_shape, a.data_dtype, a.data_descriptor) == (b.data_shape, b.data_dtype, b.data_descriptor)
    assert a.dimensional_calibrations == b.dimensional_calibrations
    assert a.intensity_calibration == b.intensity_calibration
    assert given.created == found.created
    for name in ("timezone", "timezone_offset"):  # Nion Swift stores them, but forgets them when it reads an item
        assert given._get_persistent_property_value(name) == found._get_persistent_property_value(name)
    assert (given.title, given.caption) == (found.title, found.caption)
    metadata = dict(b.metadata)
    ours = dict(metadata.pop(binding.KEY))
    assert ours.pop("container")["format"].startswith("Esteem container")
    assert dict(a.metadata) == metadata | ({binding.KEY: ours} if ours else {})
    assert given.uuid != found.uuid


@pytest.mark.parametrize("suffix", ["", ".zip"])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_of_every_dimensionality(app: Swift, tmp_path: Path, kind: str, suffix: str) -> None:
    shape, descriptor, units = KINDS[kind]
    item = app.add(calibrated(values(shape, np.float32), descriptor, units))
    path = tmp_path / f"data.esteem{suffix}"
    export(app, item, path)
    (found,) = app.receive(path if suffix else path / "zarr.json")
    assert_same(item, found)
    assert app.told == []
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "float32", "float64", "complex64"])
@pytest.mark.parametrize("kind", ["image", "spectrum image", "4D-STEM"])
def test_round_trip_of_every_dtype(app: Swift, tmp_path: Path, kind: str, dtype: str) -> None:
    shape, descriptor, units = KINDS[kind]
    item = app.add(calibrated(values(shape, dtype), descriptor, units))
    export(app, item, tmp_path / "data.esteem")
    (found,) = app.receive(tmp_path / "data.esteem" / "zarr.json")
    assert_same(item, found)


@pytest.mark.parametrize("kind", ["image", "spectrum image", "4D-STEM", "series of spectrum images"])
def test_round_trip_of_data_items_in_files(swift: Any, tmp_path: Path, kind: str) -> None:
    shape, descriptor, units = KINDS[kind]
    with in_files(tmp_path / "project") as app:
        item = app.add(calibrated(values(shape, np.float32), descriptor, units))
        assert isinstance(item.xdata.data, h5py.Dataset) == (len(shape) > 2)
        export(app, item, tmp_path / "data.esteem")
        (found,) = app.receive(tmp_path / "data.esteem" / "zarr.json")
        assert isinstance(found.xdata.data, h5py.Dataset) == (len(shape) > 2)
        assert_same(item, found)
        found.title = "can be changed"
        app.model.remove_data_item(found)


def test_names_of_axes_are_those_that_esteem_knows(app: Swift, tmp_path: Path) -> None:
    expected = {
        "spectrum": ["energy"],
        "image": ["y", "x"],
        "pattern": ["ky", "kx"],
        "spectrum image": ["y", "x", "energy"],
        "cathodoluminescence": ["y", "x", "wavelength"],
        "4D-STEM": ["y", "x", "ky", "kx"],
        "series of spectrum images": ["frame", "y", "x", "energy"],
    }
    for kind, names in expected.items():
        shape, descriptor, units = KINDS[kind]
        path = tmp_path / f"{kind}.esteem"
        export(app, app.add(calibrated(values(shape, np.float32), descriptor, units)), path)
        dataset = io.load(path)
        (signal,) = dataset.signals.values()
        assert [axis.name for axis in signal.axes] == names
        assert [axis.unit for axis in signal.axes] == units
        assert dataset.metadata["instrument"] == {"high_tension": 60000}
    dataset = io.load(tmp_path / "4D-STEM.esteem")
    assert dataset.frames()[1].frame_shape == (8, 10)
    assert dataset.geometry["scan_step_nm"] == (0.25, 0.5)
    assert dataset.geometry["pixel_mrad"] == (0.75, 1.0)


def test_several_data_items_in_one_container(app: Swift, tmp_path: Path) -> None:
    kinds = ("4D-STEM", "line of patterns", "spectrum image", "spectrum image")
    given = [app.add(calibrated(values(KINDS[k][0], np.float32), *KINDS[k][1:]), "A") for k in kinds]
    io.save(tmp_path / "all.esteem", make_dataset(given))
    found = app.receive(tmp_path / "all.esteem" / "zarr.json")
    for a, b in zip(given, found, strict=True):
        assert_same(a, b)
    assert list(io.load(tmp_path / "all.esteem").signals) == ["A", "A 2", "A 3", "A 4"]


def axes(*names_and_sizes: Any) -> tuple[io.Axis, ...]:
    pairs = zip(names_and_sizes[::2], names_and_sizes[1::2], strict=True)
    return tuple(io.Axis(name, size, 0.5, 3.0, "nm" if name in "yx" else "") for name, size in pairs)


def test_a_container_of_several_signals_from_elsewhere(app: Swift, tmp_path: Path) -> None:
    image, eels = values((6, 7), np.float32), values((6, 7, 32), np.uint16)
    signals = {
        "adf": io.Signal(image, axes("y", 6, "x", 7)),
        "eels": io.Signal(eels, axes("y", 6, "x", 7, "energy", 32)),
    }
    io.save(tmp_path / "both.esteem", io.Dataset(signals, metadata={"instrument": {"name": "U100"}, "operator": "me"}))
    found = {item.title: item for item in app.receive(tmp_path / "both.esteem" / "zarr.json")}
    assert set(found) == {"adf", "eels"}
    assert np.array_equal(found["adf"].data, image)
    assert np.array_equal(found["eels"].data, eels)
    assert found["eels"].collection_dimension_count == 2
    assert found["eels"].dimensional_calibrations[0].units == "nm"
    assert found["eels"].metadata["instrument"] == {"name": "U100"}
    assert found["eels"].metadata[binding.KEY]["container"]["operator"] == "me"


def test_a_series_brings_what_is_known_of_its_frames(app: Swift, tmp_path: Path) -> None:
    data = values((3, 4, 5, 16), np.float32)
    series = io.SeriesRecord(3, time_s=np.array([0.0, 1.5, np.nan]), energy_offset_ev=np.array([0.0, 0.1, 0.2]))
    signal = io.Signal(data, axes("frame", 3, "y", 4, "x", 5, "energy", 16))
    io.save(tmp_path / "s.esteem", io.Dataset({"eels": signal}, series=series))
    (item,) = app.receive(tmp_path / "s.esteem" / "zarr.json")
    assert item.is_sequence
    known = item.metadata[binding.KEY]["container"]["series"]
    assert known["time_s"] == [0.0, 1.5, None]
    assert known["energy_offset_ev"] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("shape", [(6, 7, 48), (3, 6, 7, 48)])
def test_events_become_a_spectrum_image(app: Swift, tmp_path: Path, shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(0).poisson(0.05, shape).astype(np.uint16)
    names = ["frame", "y", "x", "energy"][-len(shape) :]
    signal = io.Signal(events.SparseSI.from_dense(counts), tuple(map(io.Axis, names, shape)), "events")
    io.save(tmp_path / "eds.esteem", io.Dataset({"eds": signal}))
    (item,) = app.receive(tmp_path / "eds.esteem" / "zarr.json")
    assert np.array_equal(item.data, counts)
    assert item.data_dtype == np.uint16
    assert item.is_sequence == (len(shape) == 4)


@pytest.mark.parametrize("shape", [(6, 7, 48), (3, 6, 7, 48)])
def test_events_too_large_to_unpack_become_map_and_spectrum(
    app: Swift, tmp_path: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_dataset, "EVENTS_BYTES", 1000)
    counts = np.random.default_rng(0).poisson(0.05, shape).astype(np.uint16)
    names = ["frame", "y", "x", "energy"][-len(shape) :]
    signal = io.Signal(events.SparseSI.from_dense(counts), tuple(map(io.Axis, names, shape)), "events")
    io.save(tmp_path / "eds.esteem", io.Dataset({"eds": signal}))
    image, spectrum = app.receive(tmp_path / "eds.esteem" / "zarr.json")
    assert np.array_equal(image.data, counts.sum(axis=-1))
    assert np.array_equal(spectrum.data, counts.reshape(-1, shape[-1]).sum(axis=0))
    assert "added up, are imported instead" in app.told[0]


@pytest.mark.parametrize("several", [False, True])
def test_one_bit_frames_become_4d_data(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Each in its place, as a search for disks takes them; frames of one place are added up."""
    monkeypatch.setattr(from_dataset, "PART_BYTES", 2000)
    order = np.random.default_rng(0).permutation(12)
    order[3] = order[9] if several else order[3]
    y, x = np.mgrid[:30, :30] - 15.0
    bits = (np.random.default_rng(1).random((12, 30, 30)) < np.where(np.hypot(y, x) < 3, 0.9, 0.01)).astype(np.uint8)
    frames = io.Signal(events.pack_bits(bits), axes("frame", 12, "ky", 30, "kx", 30), "packed", (30, 30))
    scan = io.ScanRecord((3, 4), index=order, step_nm=0.1)
    io.save(tmp_path / "run.esteem", io.Dataset({"frames": frames}, scan=scan))
    (item,) = app.receive(tmp_path / "run.esteem" / "zarr.json")
    expected = np.zeros((12, 30, 30), np.uint32 if several else np.uint8)
    np.add.at(expected, order, bits)
    assert item.data_dtype == expected.dtype
    np.testing.assert_array_equal(item.data, expected.reshape(3, 4, 30, 30))
    assert item.dimensional_calibrations[0].scale == pytest.approx(0.1)
    assert ["they are added up" in text for text in app.told] == [True] * several
    computation, made = bragg_disks.make(app.model, item, radius=3.0)
    app.model.recompute_all()
    assert computation.error_text is None
    assert (np.asarray(made["number"].data).ravel()[np.unique(order)] == 1).all()


def test_one_bit_frames_too_large_to_unpack_are_sent_to_their_panel(
    app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_dataset, "FRAMES_BYTES", 3000)
    packed = np.random.default_rng(0).integers(0, 256, (12, 16, 2), np.uint8)
    frames = io.Signal(packed, axes("frame", 12, "ky", 16, "kx", 16), "packed", (16, 16))
    adf = io.Signal(values((3, 4), np.float32), axes("y", 3, "x", 4))
    io.save(tmp_path / "run.esteem", io.Dataset({"frames": frames, "adf": adf}, scan=io.ScanRecord((3, 4))))
    (item,) = app.receive(tmp_path / "run.esteem" / "zarr.json")
    assert np.array_equal(item.data, adf.data)
    assert "open it in the panel Live 4D-STEM" in app.told[0]


def test_frames_in_raster_order_become_4d_data(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_dataset, "PART_BYTES", 300)
    data = values((12, 8, 10), np.uint16)
    frames = io.Signal(data, axes("frame", 12, "ky", 8, "kx", 10), "dense", (8, 10))
    io.save(tmp_path / "run.esteem", io.Dataset({"frames": frames}, scan=io.ScanRecord((3, 4), step_nm=0.1)))
    (item,) = app.receive(tmp_path / "run.esteem" / "zarr.json")
    assert (item.collection_dimension_count, item.datum_dimension_count) == (2, 2)
    assert np.array_equal(item.data, data.reshape(3, 4, 8, 10))
    assert item.dimensional_calibrations[0].scale == pytest.approx(0.1)


def test_bytes_in_threes_are_no_colours(app: Swift, tmp_path: Path) -> None:
    data = values((6, 7, 3), np.uint8)
    io.save(tmp_path / "m.esteem", io.Dataset({"maps": io.Signal(data, axes("y", 6, "x", 7, "energy", 3))}))
    (item,) = app.receive(tmp_path / "m.esteem" / "zarr.json")
    assert not item.is_data_rgb_type
    assert np.array_equal(item.data, data)


def test_a_large_file_is_read_part_by_part(swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_dataset, "PART_BYTES", 4096)
    data = values((9, 7, 100), np.float32)
    io.save(tmp_path / "e.esteem", io.Dataset({"eels": io.Signal(data, axes("y", 9, "x", 7, "energy", 100))}))
    with in_files(tmp_path / "project") as app:
        (item,) = app.receive(tmp_path / "e.esteem" / "zarr.json")
        assert np.array_equal(np.asarray(item.xdata.data), data)


def test_a_full_disk_is_told_before_anything_is_written(
    swift: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = values((9, 7, 100), np.float32)
    io.save(tmp_path / "e.esteem", io.Dataset({"eels": io.Signal(data, axes("y", 9, "x", 7, "energy", 100))}))
    with in_files(tmp_path / "project") as app:
        monkeypatch.setattr("nionswift_plugin.esteem_process.project_item.SPARE_BYTES", 2**60)
        assert app.receive(tmp_path / "e.esteem" / "zarr.json") == []
        assert "GB free; nothing was imported" in app.told[0]
        assert not list((tmp_path / "project").rglob("*.h5"))
        monkeypatch.undo()
        assert len(app.receive(tmp_path / "e.esteem" / "zarr.json")) == 1


def test_damage_is_told_in_words_and_leaves_nothing(swift: Any, tmp_path: Path) -> None:
    data = values((9, 7, 100), np.float32)
    signals = {n: io.Signal(data, axes("y", 9, "x", 7, "energy", 100)) for n in ("a", "b")}
    io.save(tmp_path / "e.esteem", io.Dataset(signals))
    block = next((tmp_path / "e.esteem" / "signals" / "b").glob("c.*"))
    block.write_bytes(block.read_bytes()[:-7])
    with in_files(tmp_path / "project") as app:
        assert app.receive(tmp_path / "e.esteem" / "zarr.json") == []
        assert "cannot be read" in app.told[0]
        assert not list((tmp_path / "project").rglob("*.h5"))
        assert app.add(calibrated(values((12, 16), np.float32), (False, 0, 2), ["nm", "nm"])).data is not None


def test_files_that_are_no_containers(app: Swift, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    assert app.receive(tmp_path / "notes.json") == []  # a side-car of another format: Import Folder hands it over
    assert app.told == []
    (tmp_path / "notes.zip").write_bytes(b"PK nothing")
    (tmp_path / "zarr.json").write_text('{"node_type": "group"}')
    for number, name in enumerate(("notes.zip", "zarr.json"), 1):
        assert app.receive(tmp_path / name) == []
        assert len(app.told) == number
    assert "is no container of Esteem" in app.told[0]


def test_import_folder_takes_a_container_once(app: Swift, tmp_path: Path) -> None:
    image = io.Signal(values((6, 7), np.float32), axes("y", 6, "x", 7))
    io.save(tmp_path / "one.esteem", io.Dataset({"adf": image, "bf": image}, scan=io.ScanRecord((6, 7))))
    found = [app.receive(path) for path in sorted((tmp_path / "one.esteem").rglob("zarr.json"))]
    assert sum(map(len, found)) == 2
    assert app.told == []


def test_colours_are_refused_in_words(app: Swift, tmp_path: Path) -> None:
    item = app.add(np.zeros((6, 7, 3), np.uint8))
    with pytest.raises(ParameterError, match="colour picture"):
        export(app, item, tmp_path / "picture.esteem")
    assert "export it as PNG" in app.told[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["there.esteem", "there.esteem.zip"])
def test_nothing_is_replaced(app: Swift, tmp_path: Path, name: str) -> None:
    item = app.add(calibrated(values((12, 16), np.float32), (False, 0, 2), ["nm", "nm"]))
    export(app, item, tmp_path / name)
    before = io.load(tmp_path / name).metadata
    with pytest.raises(EsteemError, match="exists already"):
        export(app, item, tmp_path / name)
    assert io.load(tmp_path / name).metadata == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there(app: Swift, tmp_path: Path) -> None:
    item = app.add(calibrated(values((12, 16), np.float32), (False, 0, 2), ["nm", "nm"]))
    for name in ("away/a.esteem.zip", "name.json"):
        with pytest.raises(EsteemError):
            export(app, item, tmp_path / name)
    assert len(app.told) == 2


@pytest.mark.parametrize("title", ["", "a/b:c*?", "CON", "  .hidden. ", "Ä" * 200, "SI ⟨110⟩"])
def test_any_title_can_be_exported(app: Swift, tmp_path: Path, title: str) -> None:
    item = app.add(calibrated(values((12, 16), np.float32), (False, 0, 2), ["nm", "nm"]), title)
    export(app, item, tmp_path / "a.esteem")
    (found,) = app.receive(tmp_path / "a.esteem" / "zarr.json")
    assert found.title == item.title
