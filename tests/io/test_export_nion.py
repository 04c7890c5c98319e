"""Exports for Nion Swift, read by Nion's own classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from esteemcore import io
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.io.exports import export


@pytest.fixture
def kinds(rng):
    """Signals and what Nion calls their axes: sequence, collection, datum."""
    y, x = io.Axis("y", 5, 0.1, 1, "nm"), io.Axis("x", 6, 0.2, 2, "nm")
    energy = io.Axis("energy", 30, 0.5, 280, "eV")
    counts = rng.poisson(0.1, (5, 6, 30)).astype(np.uint16)
    series, kyx = io.Axis("frame", 3), (io.Axis("ky", 8, 2.0, -8, "mrad"), io.Axis("kx", 8, 2.0, -8, "mrad"))
    signals = {
        "image": (io.Signal(rng.normal(size=(5, 6)), (y, x)), (False, 0, 2)),
        "series": (io.Signal(rng.normal(size=(3, 5, 6)).astype("f4"), (series, y, x)), (True, 0, 2)),
        "eels": (io.Signal(rng.normal(size=(5, 6, 30)), (y, x, energy)), (False, 2, 1)),
        "eds": (io.Signal(SparseSI.from_dense(counts), (y, x, energy), "events"), (False, 2, 1)),
        "movie": (io.Signal(rng.normal(size=(3, 5, 6, 30)), (series, y, x, energy)), (True, 2, 1)),
        "frames": (
            io.Signal(rng.integers(0, 9, (5, 6, 8, 8)).astype("u2"), (y, x, *kyx), frame_shape=(8, 8)),
            (False, 2, 2),
        ),
        "spectrum": (io.Signal(rng.normal(size=30), (energy,)), (False, 0, 1)),
    }
    dataset = io.Dataset({name: signal for name, (signal, _) in signals.items()}, None, {"beam_energy_kev": 60.0})
    return dataset, {name: axes for name, (_, axes) in signals.items()}


def values(signal: io.Signal) -> np.ndarray:
    return signal.data.to_dense() if signal.kind == "events" else signal.data


NAMES = ["image", "series", "eels", "eds", "movie", "frames", "spectrum"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".ndata", ".h5"])
def test_data_files_are_read_by_the_handlers_of_swift(kinds, tmp_path, name, suffix) -> None:
    pytest.importorskip("nion.swift", reason="Nion Swift is not installed")
    from nion.swift.model import DataItem, HDF5Handler, NDataHandler

    dataset, expected = kinds
    path = tmp_path / f"a{suffix}"
    export(path, dataset, signal=name)
    handler = NDataHandler.NDataHandler(path) if suffix == ".ndata" else HDF5Handler.HDF5Handler(path)
    try:
        np.testing.assert_array_equal(np.asarray(handler.read_data()), values(dataset.signals[name]))
        properties = handler.read_properties()
    finally:
        handler.close()
    assert properties["version"] == DataItem.DataItem.writer_version
    assert properties["type"] == "data-item"
    found = properties["is_sequence"], properties["collection_dimension_count"], properties["datum_dimension_count"]
    assert found == expected[name]
    for axis, entry in zip(dataset.signals[name].axes, properties["dimensional_calibrations"], strict=True):
        assert (entry["scale"], entry["offset"], entry["units"]) == (axis.scale, axis.offset, axis.unit)
    assert properties["metadata"]["instrument"]["high_tension"] == 60e3
    assert properties["title"] == name


@pytest.mark.parametrize("name", NAMES)
def test_swift_imports_ndata1(kinds, tmp_path, name) -> None:
    pytest.importorskip("nion.swift", reason="Nion Swift is not installed")
    from nion.swift.model import ImportExportManager

    dataset, expected = kinds
    export(tmp_path / "a.ndata1", dataset, signal=name)
    handler = ImportExportManager.NDataImportExportHandler("ndata1-io-handler", "NData 1", ["ndata1"])
    (item,) = handler.read_data_items("ndata1", Path(tmp_path / "a.ndata1"))
    try:
        _check_item(item, dataset.signals[name], expected[name])
    finally:
        item.close()


@pytest.mark.parametrize("name", NAMES)
def test_swift_imports_nhdf(kinds, tmp_path, name) -> None:
    pytest.importorskip("nion.swift", reason="Nion Swift is not installed")
    from nion.swift.model import DataItem, HDF5Handler, StorageHandler

    dataset, expected = kinds
    export(tmp_path / "a.nhdf", dataset, signal=name)
    kept = []

    class Kept:
        def write_data(self, data, data_descriptor, file_datetime) -> None:
            kept.append((np.array(data), data_descriptor))

        def write_properties(self, properties, file_datetime) -> None:
            kept.append(properties)

    class Provider:
        def make_storage_handler(self, attributes: StorageHandler.StorageHandlerAttributes) -> Kept:
            return Kept()

    HDF5Handler.HDFImportExportDriver().read_data(tmp_path / "a.nhdf", Provider())
    (data, descriptor), properties = kept
    np.testing.assert_array_equal(data, values(dataset.signals[name]))
    found = descriptor.is_sequence, descriptor.collection_dimension_count, descriptor.datum_dimension_count
    assert found == expected[name]
    item = DataItem.DataItem()
    try:
        item.begin_reading()
        item.read_from_dict(properties)
        item.finish_reading()
        assert item.title == name
    finally:
        item.close()


def _check_item(item, signal, expected) -> None:
    found = item.xdata
    np.testing.assert_array_equal(found.data, values(signal))
    assert (found.is_sequence, found.collection_dimension_count, found.datum_dimension_count) == expected
    for axis, calibration in zip(signal.axes, found.dimensional_calibrations, strict=True):
        assert (calibration.scale, calibration.offset, calibration.units) == (axis.scale, axis.offset, axis.unit)
    assert len(signal.axes) == len(found.dimensional_calibrations) == found.data.ndim
    assert found.metadata["instrument"]["high_tension"] == 60e3
    assert found.intensity_calibration.units == ("counts" if found.data.dtype.kind in "iu" else "")


def test_the_check_of_an_item_can_fail(kinds, tmp_path) -> None:
    pytest.importorskip("nion.swift", reason="Nion Swift is not installed")
    from nion.swift.model import ImportExportManager

    dataset, expected = kinds
    signal = dataset.signals["eels"]
    export(tmp_path / "a.ndata1", dataset, signal="eels")
    handler = ImportExportManager.NDataImportExportHandler("ndata1-io-handler", "NData 1", ["ndata1"])
    (item,) = handler.read_data_items("ndata1", Path(tmp_path / "a.ndata1"))
    moved = tuple(dataclasses.replace(axis, offset=axis.offset + 1) for axis in signal.axes)
    try:
        for wrong, axes in (
            (dataclasses.replace(signal, data=signal.data + 1), expected["eels"]),
            (dataclasses.replace(signal, axes=moved), expected["eels"]),
            (signal, expected["image"]),
        ):
            with pytest.raises(AssertionError):
                _check_item(item, wrong, axes)
    finally:
        item.close()


def test_what_swift_has_no_place_for(tmp_path) -> None:
    axes = tuple(io.Axis(name, 2) for name in ("tilt", "defocus", "y", "x", "energy"))
    with pytest.raises(ParameterError, match="Nion Swift knows a sequence of scans"):
        export(tmp_path / "a.h5", io.Dataset({"many": io.Signal(np.zeros((2,) * 5), axes)}))
    assert not list(tmp_path.iterdir())
