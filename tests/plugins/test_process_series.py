"""What is known of frames, visits and scan goes through Swift's metadata and comes back to the last bit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nion.data import DataAndMetadata
from process_swift import KINDS, Swift, calibrated, in_files, in_memory, values

from esteemcore import io, scan
from nionswift_plugin.esteem_process import frame_columns
from nionswift_plugin.esteem_process.to_dataset import RECORD, make_dataset
from nionswift_plugin.esteem_scan import binding

FRAMES, SHAPE, CHANNELS = 4, (5, 6), 32


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def write_series(path: Path, frames: int = FRAMES) -> dict[str, np.ndarray]:
    """Write a series as an acquisition does: an image, spectra and the visit order of each frame."""
    rng = np.random.default_rng(5)
    data = {
        "haadf": rng.normal(100, 10, (frames, *SHAPE)).astype(np.float32),
        "eels": rng.poisson(30, (frames, *SHAPE, CHANNELS)).astype(np.float32),
        "visit_order": np.stack([rng.permutation(30).reshape(SHAPE) for _ in range(frames)]).astype(np.uint32),
    }
    around = (io.Axis("y", 5, 0.1, unit="nm"), io.Axis("x", 6, 0.1, unit="nm"))
    axes = {"haadf": around, "eels": (*around, io.Axis("energy", CHANNELS, 0.5, 100.0, "eV")), "visit_order": around}
    signals = {n: io.SeriesSignal(v.shape[1:], v.dtype, axes[n], metadata={"of": n}) for n, v in data.items()}
    places = np.random.default_rng(6)
    record = io.ScanRecord(
        SHAPE,
        index=scan.shuffled(SHAPE, seed=3).order,
        time_s=np.r_[np.nan, places.random(29)],
        positions=places.random((30, 2)) * 4,
        dwell_s=1e-3,
        flyback_s=2e-4,
        step_nm=(0.1, 0.1),
        rotation_deg=12.5,
    )
    noted = {"multiframe": {"runs": [{"first_frame": 0}]}, "instrument": {"name": "U100"}, "operator": "me"}
    with io.SeriesWriter(path, signals, scan=record, geometry={"scan_step_nm": 0.1}, metadata=noted) as writer:
        for k in range(frames):
            writer.append(
                {name: value[k] for name, value in data.items()},
                time_s=0.1 * k if k != 1 else None,
                energy_offset_ev=rng.normal(),
                displacement_px=rng.normal(size=2),
                tilt_deg=(0.1, 0.2) if k else None,
            )
    return data


def cut_of(app: Swift, item: Any, part: Any) -> Any:
    """Return a part of a data item with all its metadata, as some computations make it."""
    cut = DataAndMetadata.new_data_and_metadata(
        np.array(item.xdata.data)[part], metadata=item.metadata, data_descriptor=item.xdata.data_descriptor
    )
    return app.add(cut, "cut")


def assert_same_record(given: Any, found: Any, without: str = "") -> None:
    assert found is not None
    for field in dataclasses.fields(given):
        a, b = getattr(given, field.name), getattr(found, field.name)
        if isinstance(a, dict):
            assert set(a) - {without} == set(b)
            assert all(np.array_equal(a[key], b[key], equal_nan=True) for key in b)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field.name
        else:
            assert a == b, field.name


def test_a_series_goes_through_swift_and_back(swift: Any, tmp_path: Path) -> None:
    data = write_series(tmp_path / "s.esteem")
    given = io.load(tmp_path / "s.esteem")
    with in_files(tmp_path / "project") as app:
        items = app.receive(tmp_path / "s.esteem" / "zarr.json")
        assert [item.title for item in items] == list(data)
        assert all(item.is_sequence for item in items)
        assert app.told == []
        for item in items:  # what the files of the project keep of it
            assert json.loads(json.dumps(item.metadata)) == item.metadata
        io.save(tmp_path / "back.esteem", make_dataset(items))
    found = io.load(tmp_path / "back.esteem")
    for name, value in data.items():
        assert np.array_equal(np.asarray(found.signals[name].data), value)
        assert found.signals[name].data.dtype == value.dtype
        assert found.signals[name].axes == given.signals[name].axes
        assert found.signals[name].metadata["of"] == name
        assert "series" not in found.signals[name].metadata[RECORD]["metadata"][binding.KEY]["container"]
    assert given.series is not None
    assert np.isnan(given.series.time_s[1])
    assert np.isnan(given.series.tilt_deg[0]).all()
    assert np.array_equal(given.series.counts["haadf"], data["haadf"].sum(axis=(1, 2), dtype=np.float64))
    assert_same_record(given.series, found.series)
    assert_same_record(given.scan, found.scan)
    assert found.geometry == given.geometry
    for key in ("multiframe", "instrument", "operator"):
        assert found.metadata[key] == given.metadata[key]
    assert found.metadata["provenance"]["before"]["function"] == given.metadata["provenance"]["function"]


def test_twice_is_no_more_than_once(app: Swift, tmp_path: Path) -> None:
    write_series(tmp_path / "0.esteem")
    sizes = []
    for number in (1, 2, 3):
        items = app.receive(tmp_path / f"{number - 1}.esteem" / "zarr.json")
        io.save(tmp_path / f"{number}.esteem", make_dataset(items))
        sizes.append((tmp_path / f"{number}.esteem" / "signals" / "eels" / "zarr.json").stat().st_size)
    first, last = io.load(tmp_path / "0.esteem"), io.load(tmp_path / "3.esteem")
    assert_same_record(first.series, last.series)
    assert_same_record(first.scan, last.scan)
    assert sizes[2] < 1.1 * sizes[1]


def test_one_of_several_signals(app: Swift, tmp_path: Path) -> None:
    write_series(tmp_path / "s.esteem")
    items = {item.title: item for item in app.receive(tmp_path / "s.esteem" / "zarr.json")}
    items["eels"].title = "renamed"
    found = make_dataset([items["eels"]])
    given = io.load(tmp_path / "s.esteem")
    assert given.series is not None
    assert np.array_equal(found.series.counts["renamed"], given.series.counts["eels"])
    assert_same_record(dataclasses.replace(given.series, counts={}), dataclasses.replace(found.series, counts={}))
    assert_same_record(given.scan, found.scan)


def test_a_signal_alone_keeps_its_name(app: Swift, tmp_path: Path) -> None:
    data = values((3, 4, 5), np.float32)
    signal = io.Signal(data, (io.Axis("frame", 3), io.Axis("y", 4), io.Axis("x", 5)))
    io.save(tmp_path / "s.esteem", io.Dataset({"haadf": signal}, series=io.SeriesRecord(3, time_s=np.arange(3.0))))
    (item,) = app.receive(tmp_path / "s.esteem" / "zarr.json")
    assert item.title == "haadf (s)"
    found = make_dataset([item])
    assert list(found.signals) == ["haadf"]
    assert found.series is not None
    assert list(make_dataset([item, item]).signals) == ["haadf", "haadf 2"]
    item.title = "mine"
    assert list(make_dataset([item]).signals) == ["mine"]


def test_frames_that_were_taken_out_lose_their_columns(app: Swift, tmp_path: Path) -> None:
    write_series(tmp_path / "s.esteem")
    items = {item.title: item for item in app.receive(tmp_path / "s.esteem" / "zarr.json")}
    cut = cut_of(app, items["eels"], np.s_[1:])
    assert cut.metadata[binding.KEY]["container"]["series"]["frames"] == FRAMES
    assert make_dataset([cut]).series is None
    assert make_dataset([items["eels"], cut]).series is None
    for number, chosen in enumerate(([cut], [items["eels"], cut], [cut, items["haadf"]])):
        io.save(tmp_path / f"{number}.esteem", make_dataset(chosen))  # and nothing contradicts
    kept = io.load(tmp_path / "1.esteem").signals["eels"].metadata[RECORD]["metadata"]
    assert kept[binding.KEY]["container"]["series"]["frames"] == FRAMES


def test_cut_positions_lose_the_scan(app: Swift, tmp_path: Path) -> None:
    write_series(tmp_path / "s.esteem")
    (eels,) = (i for i in app.receive(tmp_path / "s.esteem" / "zarr.json") if i.title == "eels")
    cut = cut_of(app, eels, np.s_[:, 1:])
    found = make_dataset([cut])
    assert found.scan is None
    assert found.series is not None


def test_two_series_together(app: Swift, tmp_path: Path) -> None:
    for name, frames in (("a", 4), ("b", 4), ("c", 3)):
        write_series(tmp_path / f"{name}.esteem", frames)
    eels = [
        next(i for i in app.receive(tmp_path / f"{name}.esteem" / "zarr.json") if i.title == "eels") for name in "abc"
    ]
    assert make_dataset(eels[:2]).series is not None  # the same frames, stored twice
    both = make_dataset([eels[0], eels[2]])
    assert both.series is None
    assert both.scan is not None
    io.save(tmp_path / "both.esteem", both)
    native = app.add(calibrated(values(KINDS["sequence of images"][0], np.float32), *KINDS["sequence of images"][1:]))
    mixed = make_dataset([eels[0], native])  # 4 and 5 frames
    assert mixed.series is None
    io.save(tmp_path / "mixed.esteem", mixed)


def test_frames_in_visit_order(app: Swift, tmp_path: Path) -> None:
    frames = values((10, 8, 8), np.uint16)
    axes = (io.Axis("frame", 10), io.Axis("ky", 8, 1.0, unit="mrad"), io.Axis("kx", 8, 1.0, unit="mrad"))
    record = io.ScanRecord((4, 5), index=np.r_[np.arange(0, 18, 2), -1], visit=np.arange(10) // 5)
    io.save(tmp_path / "f.esteem", io.Dataset({"frames": io.Signal(frames, axes, "dense", (8, 8))}, scan=record))
    (item,) = app.receive(tmp_path / "f.esteem" / "zarr.json")
    io.save(tmp_path / "g.esteem", make_dataset([item]))
    assert_same_record(record, io.load(tmp_path / "g.esteem").scan)
    cut = cut_of(app, item, np.s_[2:])
    assert make_dataset([cut]).scan is None
    io.save(tmp_path / "h.esteem", make_dataset([item, cut]))


def test_an_order_that_is_too_long_is_told(app: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "s.esteem")
    monkeypatch.setattr(frame_columns, "MOST_CHARACTERS", 20)
    items = app.receive(tmp_path / "s.esteem" / "zarr.json")
    assert "the scan's index is too long for the metadata of Nion Swift; it is only in the file" in app.told[0]
    found = make_dataset(items)
    assert found.scan is not None
    assert found.scan.index is None
    assert found.scan.dwell_s == 1e-3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: entry.update(series="none"),
        lambda entry: entry["series"].update(time_s=[1.0]),
        lambda entry: entry["series"].update(frames=-1),
        lambda entry: entry["series"].update(displacement_px=[["a", "b"]] * FRAMES),
        lambda entry: entry["scan"].update(shape=5),
        lambda entry: entry["scan"]["index"].update(zlib="?"),
        lambda entry: entry["scan"]["index"].update(shape=[3]),
        lambda entry: entry["scan"].update(dwell_s="long"),
        lambda entry: entry.update(of_data_set=3, of_signal=None, geometry=1),
        lambda entry: entry.clear(),
    ],
)
def test_metadata_that_somebody_changed(app: Swift, tmp_path: Path, spoil: Any) -> None:
    write_series(tmp_path / "s.esteem")
    items = app.receive(tmp_path / "s.esteem" / "zarr.json")
    for item in items:
        metadata = json.loads(json.dumps(item.metadata))
        spoil(metadata[binding.KEY]["container"])
        item.metadata = metadata
    io.save(tmp_path / "back.esteem", make_dataset(items))
    assert len(io.load(tmp_path / "back.esteem").signals) == 3


def test_a_loss_is_not_forgotten(app: Swift, tmp_path: Path) -> None:
    data = values((6, 7, 64), np.float32)
    signal = io.Signal(data, (io.Axis("y", 6), io.Axis("x", 7), io.Axis("energy", 64, unit="eV")))
    codec = {"eels": {"name": "esteem.eels-bounded", "bound_sigma": 0.5}}
    io.save(tmp_path / "a.esteem", io.Dataset({"eels": signal}), codec=codec)
    (item,) = app.receive(tmp_path / "a.esteem" / "zarr.json")
    io.save(tmp_path / "b.esteem", make_dataset([item]))
    (stored,) = io.load(tmp_path / "b.esteem").signals.values()
    assert stored.metadata["loss"] == io.load(tmp_path / "a.esteem").signals["eels"].metadata["loss"]
