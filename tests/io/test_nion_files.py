"""Files of Nion Swift: what Nion's own classes and our exports have written is read back, axes and values."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from esteemcore import io
from esteemcore.errors import FormatError
from esteemcore.io.exports import export

SUFFIXES = [".ndata", ".ndata1", ".h5", ".nhdf"]


def signals(rng) -> dict[str, io.Signal]:
    y, x = io.Axis("y", 5, 0.1, 1, "nm"), io.Axis("x", 6, 0.2, 2, "nm")
    energy, frame = io.Axis("energy", 30, 0.5, 280, "eV"), io.Axis("frame", 3)
    angles = io.Axis("ky", 8, 2.0, -8, "mrad"), io.Axis("kx", 8, 2.0, -8, "mrad")
    return {
        "image": io.Signal(rng.normal(size=(5, 6)), (y, x)),
        "series": io.Signal(rng.normal(size=(3, 5, 6)).astype("f4"), (frame, y, x)),
        "eels": io.Signal(rng.integers(0, 99, (5, 6, 30)).astype("u2"), (y, x, energy)),
        "movie": io.Signal(rng.normal(size=(3, 5, 6, 30)), (frame, y, x, energy)),
        "frames": io.Signal(rng.normal(size=(5, 6, 8, 8)), (y, x, *angles), frame_shape=(8, 8)),
        "spectrum": io.Signal(rng.normal(size=30), (energy,)),
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["image", "series", "eels", "movie", "frames", "spectrum"])
def test_what_is_exported_for_swift_is_read_back(rng, tmp_path, name, suffix) -> None:
    given = signals(rng)[name]
    path = tmp_path / f"a{suffix}"
    export(path, io.Dataset({name: given}))
    (found,) = io.load(path).signals.values()
    np.testing.assert_array_equal(np.asarray(found.data), given.data)
    assert found.data.dtype == given.data.dtype
    assert found.axes == given.axes
    assert found.frame_shape == given.frame_shape


@pytest.mark.parametrize("suffix", [".ndata", ".h5"])
def test_sequences_that_swift_has_written_are_series(rng, tmp_path, suffix) -> None:
    pytest.importorskip("nion.swift", reason="Nion Swift is not installed")
    import datetime

    from nion.data import Calibration, DataAndMetadata
    from nion.swift.model import DataItem, HDF5Handler, NDataHandler

    values = rng.poisson(3.0, (4, 12, 10, 20)).astype(np.float32)
    nm, ev = Calibration.Calibration(0, 0.1, "nm"), Calibration.Calibration(400, 2.0, "eV")
    item = DataItem.new_data_item(
        DataAndMetadata.new_data_and_metadata(
            values,
            dimensional_calibrations=[Calibration.Calibration(), nm, nm, ev],
            data_descriptor=DataAndMetadata.DataDescriptor(True, 2, 1),
        )
    )
    item.title = "EELS"
    handler = {".ndata": NDataHandler.NDataHandler, ".h5": HDF5Handler.HDF5Handler}[suffix](tmp_path / f"a{suffix}")
    now = datetime.datetime(2026, 3, 4)
    handler.write_data(values, item.xdata.data_descriptor, now)
    handler.write_properties(item.write_to_dict(), now)
    handler.close()
    item.close()
    dataset = io.load(tmp_path / f"a{suffix}")
    found = dataset.signals["EELS"]
    np.testing.assert_array_equal(np.asarray(found.data[2]), values[2])
    assert [(a.name, a.scale, a.offset, a.unit) for a in found.axes[1:]] == [
        ("y", 0.1, 0.0, "nm"), ("x", 0.1, 0.0, "nm"), ("energy", 2.0, 400.0, "eV"),
    ]  # fmt: skip
    assert found.axes[0].name == "frame"
    assert dataset.scan.step_nm == (0.1, 0.1)


def test_a_compressed_zip_is_read_too(rng, tmp_path) -> None:
    given = signals(rng)["movie"]
    export(tmp_path / "a.ndata", io.Dataset({"movie": given}))
    with zipfile.ZipFile(tmp_path / "a.ndata") as plain, zipfile.ZipFile(tmp_path / "b.ndata", "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    np.testing.assert_array_equal(np.asarray(io.load(tmp_path / "b.ndata").signals["movie"].data), given.data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 40, 400])
def test_damaged_files_are_refused_in_words(rng, tmp_path, suffix, kept) -> None:
    export(tmp_path / f"a{suffix}", io.Dataset({"image": signals(rng)["image"]}))
    whole = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(whole[:kept])
    with pytest.raises(FormatError, match=rf"b{suffix}"):
        io.load(tmp_path / f"b{suffix}")
