from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from esteemcore import events, io
from esteemcore.errors import FormatError, ParameterError

SHAPES = {
    "EELS_SI.dm4": {"EELS_SI": [("y", 2, "µm"), ("x", 2, "µm"), ("energy", 2048, "eV")]},
    "SiO2_EDS_SI.hspy": {"EDS_Spectrum_Image": [("y", 128, "µm"), ("x", 128, "µm"), ("energy", 2048, "keV")]},
    "SiO2_HAADF.hspy": {"HAADF_Image": [("y", 128, "µm"), ("x", 128, "µm")]},
    "View000_0000000.img": {"IMG1": [("y", 512, "µm"), ("x", 512, "µm")]},
    "bcf_v2_50x50px.bcf": {
        "Ch_1": [("y", 50, "µm"), ("x", 50, "µm")],
        "Ch_1_2": [("y", 825, "µm"), ("x", 1100, "µm")],
        "EDX": [("y", 50, "µm"), ("x", 50, "µm"), ("energy", 2048, "keV")],
    },
    "blockfile/test1.blo": {"frames": [("y", 3, "nm"), ("x", 2, "nm"), ("ky", 144, "cm"), ("kx", 144, "cm")]},
    "lumispy/asymmetric_peak_map.hspy": {
        "880_30K_map2a": [("y", 16, "µm"), ("x", 30, "µm"), ("wavelength", 334, "nm")]
    },
    "mrc_de/ROI_Random_Scan_Sum.mrc": {"image": [("y", 29, ""), ("x", 12, "")]},
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", SHAPES)
def test_axes_of_real_files(real, name):
    dataset = io.load(real(name))
    found = {key: [(a.name, a.size, a.unit) for a in s.axes] for key, s in dataset.signals.items()}
    assert found == SHAPES[name]
    assert dataset.describe()[0].startswith(str(real(name)))


def test_real_calibrations(real):
    dataset = io.load(real("SiO2_EDS_SI.hspy"))
    assert dataset.geometry["beam_energy_kev"] == 200.0
    assert dataset.geometry["scan_step_nm"] == pytest.approx(8.552446)
    assert dataset.scan.shape == (128, 128)
    eels = io.load(real("EELS_SI.dm4")).signals["EELS_SI"]
    assert eels.axes[2].coordinates[[0, -1]] == pytest.approx([300.0, 2347.0])
    assert np.asarray(eels.data).shape == (2, 2, 2048)


def test_a_foreign_spectrum_image_is_saved(real, tmp_path):
    dataset = io.load(real("lumispy/asymmetric_peak_map.hspy"))
    io.save(tmp_path / "a.esteem", dataset)
    (name,) = dataset.signals
    back = io.load(tmp_path / "a.esteem")
    np.testing.assert_array_equal(np.asarray(back.signals[name].data), np.asarray(dataset.signals[name].data))
    assert back.signals[name].axes == dataset.signals[name].axes


def test_an_event_file_is_never_made_dense(real):
    signal = io.load(real("View000_0000006.pts")).signals["spectra"]
    assert signal.lazy
    assert [axis.name for axis in signal.axes] == ["y", "x", "energy"]
    assert signal.nbytes > 2e9


def test_axes_of_velox_spectra(unzipped):
    dataset = io.load(unzipped("velox_EELS_EDS.zip", "example_velox_EELS_EDS.emd"))
    assert [(a.name, a.size) for a in dataset.signals["EELS"].axes] == [("y", 16), ("x", 20), ("energy", 2048)]
    assert [(a.name, a.size) for a in dataset.signals["EDS_7"].axes] == [("y", 128), ("x", 128), ("energy", 4096)]
    assert dataset.signals["EDS_7"].lazy


@pytest.mark.parametrize("chips", ["Single", "Quad"])
def test_one_bit_merlin_frames_come_packed(unzipped, chips):
    path = unzipped("merlin_mib/Merlin_Single_Quad.zip", f"{chips}_9_Frame_CounterDepth_1_Rows_256.mib")
    source = io.source(path, scan_shape=(3, 3))
    side = 256 if chips == "Single" else 512
    assert source.spec.packed
    assert (source.spec.scan_shape, source.spec.frame_shape) == ((3, 3), (side, side))
    header = 384 if chips == "Single" else 768
    bytes_of_pixels = np.fromfile(path, np.uint8).reshape(9, -1)[:, header:].reshape(9, side, side)[:, ::-1]
    for size in (1, 4, 9):
        frames = np.concatenate([c.frames for c in pickle.loads(pickle.dumps(source)).chunks(size=size)])
        np.testing.assert_array_equal(events.unpack_bits(frames, side), bytes_of_pixels)
    data = io.load(path).signals["frames"].data
    np.testing.assert_array_equal(data[2:5, 7:9, ::2], events.pack_bits(bytes_of_pixels)[2:5, 7:9, ::2])
    np.testing.assert_array_equal(data[..., 3], events.pack_bits(bytes_of_pixels)[..., 3])


@pytest.mark.parametrize("chips", ["Single", "Quad"])
def test_raw_merlin_frames_show_what_the_processed_ones_show(unzipped, chips):
    """The two files are two exposures of the same test pattern, equal but for a few noisy pixels."""
    raw = unzipped("merlin_mib/Merlin_Single_Quad.zip", f"{chips}_9_Frame_CounterDepth_1_Rows_256RAW.mib")
    processed = unzipped("merlin_mib/Merlin_Single_Quad.zip", f"{chips}_9_Frame_CounterDepth_1_Rows_256.mib")
    a, b = (np.asarray(io.load(path).signals["frames"].data) for path in (raw, processed))
    assert a.shape == b.shape
    side = 8 * a.shape[2]
    different = events.unpack_bits(a, side) != events.unpack_bits(b, side)
    electrons = events.unpack_bits(b, side).sum()
    assert 0 < different.sum() < 0.03 * electrons
    chunk = next(io.source(raw).chunks(3, 5))
    np.testing.assert_array_equal(chunk.frames, a[3:5])


def test_counting_merlin_frames(unzipped):
    source = io.source(unzipped("merlin_mib/Merlin_navigation4x2_ROI.zip", "002_4x2_6bit_roi128.mib"))
    assert (source.spec.scan_shape, source.spec.frame_shape, source.spec.packed) == ((2, 4), (128, 256), False)
    assert sum(map(len, source.chunks(size=3))) == 8
    name = "Single_9_Frame_CounterDepth_12_Rows_256.mib"
    path = unzipped("merlin_mib/Merlin_Single_Quad.zip", name)
    frames = np.concatenate([c.frames for c in io.source(path).chunks()])
    records = np.fromfile(path, np.uint8).reshape(9, -1)[:, 384:].reshape(-1).view(">u2")
    np.testing.assert_array_equal(frames, records.reshape(9, 256, 256)[:, ::-1])
    assert frames.dtype == np.uint16


def test_raw_merlin_files_that_are_not_supported(tmp_path):
    header = "MQ1,000001,00384,01,0256,0256,R64,   1x1,01,2021-04-15 15:00:20,0.001,0,MQ1A,T,1000000ns,{},"
    path = tmp_path / "a.mib"
    path.write_bytes(header.format(12).encode().ljust(384) + bytes(256 * 256 * 2))
    with pytest.raises(FormatError, match="12 bits"):
        io.load(path)
    path.write_bytes(header.format(1).encode().ljust(384) + bytes(100))
    with pytest.raises(FormatError, match="ends within the first frame"):
        io.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(FormatError, match="header of a Merlin"):
        io.load(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_movie_in_random_order(real):
    path = real("mrc_de/ROI_Random_Scan_movie.mrc")
    xy = np.loadtxt(real("mrc_de/ROI_Random_Scan_scan_coordinates.csv"), delimiter=",", dtype=int)
    source = io.source(path)
    assert (source.spec.scan_shape, source.spec.frame_shape, len(source)) == ((29, 12), (16, 16), 348)
    chunks = list(pickle.loads(pickle.dumps(source)).chunks(size=100))
    index = np.concatenate([chunk.index for chunk in chunks])
    np.testing.assert_array_equal(index, xy[:, 1] * 12 + xy[:, 0])
    np.testing.assert_array_equal(np.sort(index), np.arange(348))
    frames = np.concatenate([chunk.frames for chunk in chunks])
    raw = np.fromfile(path, np.uint16)[512:].reshape(348, 16, 16)
    np.testing.assert_array_equal(frames, raw)
    scan = io.load(path).scan
    assert scan.dwell_s == pytest.approx(4.7046474e-3)
    assert scan.step_nm is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_virtual_image_of_the_movie_agrees_with_that_of_the_camera(real):
    """The camera's own sum image, made of the same frames, has its bright positions where ours has them."""
    dataset = io.load(real("mrc_de/ROI_Random_Scan_movie.mrc"))
    sums = np.zeros(29 * 12)
    sums[dataset.scan.index] = np.asarray(dataset.signals["frames"].data).sum((1, 2))
    theirs = np.asarray(io.load(real("mrc_de/ROI_Random_Scan_Sum.mrc")).signals["image"].data)
    assert np.corrcoef(sums, theirs.ravel())[0, 1] > 0.95  # both are rounded, and hardly more than noise
    assert abs(np.corrcoef(sums, theirs[:, ::-1].ravel())[0, 1]) < 0.2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_movie_with_repeated_positions(real, tmp_path):
    dataset = io.load(real("mrc_de/Custom_movie.mrc"))
    assert dataset.scan.shape == (5, 5)
    np.testing.assert_array_equal(dataset.scan.visit, np.repeat([0, 1], 15))
    shutil.copy(real("mrc_de/Custom_movie.mrc"), tmp_path / "m_movie.mrc")
    coordinates = tmp_path / "where.csv"
    for text, message in (("1,2\n3,4\n", "30 frames, but where.csv has 2"), ("a,b\n", "cannot be read"), ("", "shape")):
        coordinates.write_text(text)
        with pytest.raises(FormatError, match=message):
            io.load(tmp_path / "m_movie.mrc", coordinates=coordinates)
    with pytest.raises(FormatError, match="cannot be read"):
        io.load(tmp_path / "m_movie.mrc", coordinates=tmp_path / "absent.csv")
    coordinates.write_text("".join(f"{i % 6 + 0.25},{i // 6}\n" for i in range(30)))
    with pytest.raises(FormatError, match="the scan has 3 x 6"):
        io.load(tmp_path / "m_movie.mrc", coordinates=coordinates, scan_shape=(3, 6))
    scan = io.load(tmp_path / "m_movie.mrc", coordinates=coordinates).scan
    assert scan.shape == (5, 6)
    np.testing.assert_array_equal(scan.index, np.arange(30))
    np.testing.assert_allclose(scan.positions[7], [1.0, 1.25])


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in (
        ("a.dm4", b"rubbish"),
        ("a.emd", b"rubbish"),
        ("a.h5", b""),
        ("a.xyz", b""),
        ("noending", b""),
    ):
        (tmp_path / name).write_bytes(content)
    for name, message in (
        ("absent.esteem", "does not exist"),
        ("folder", "not a container"),
        ("a.xyz", "of no kind"),
        ("noending", "of no kind"),
        ("a.dm4", "cannot be read"),
        ("a.emd", "cannot be read"),
        ("a.h5", "cannot be read"),
    ):
        with pytest.raises(FormatError, match=message) as caught:
            io.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="Direct Electron"):
        io.load(tmp_path / "a.dm4", coordinates="x.csv")


@pytest.mark.parametrize("error", [KeyError("a\nb"), MemoryError(), ZeroDivisionError("x"), RecursionError("deep")])
def test_readers_may_raise_anything(tmp_path, monkeypatch, error):
    import rsciio.digitalmicrograph

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(rsciio.digitalmicrograph, "file_reader", fail)
    (tmp_path / "a.dm4").write_bytes(b"")
    with pytest.raises(FormatError, match="DigitalMicrograph: ") as caught:
        io.load(tmp_path / "a.dm4")
    assert "\n" not in str(caught.value)


def test_what_only_goes_with_another_file(real, unzipped):
    with pytest.raises(FormatError, match=r"it refers to .*View000_0000000\.img, which is not there"):
        io.load(real("rawdata.ASW"))
    with pytest.raises(FormatError, match=r"open ROI_Random_Scan_movie\.mrc"):
        io.load(real("mrc_de/ROI_Random_Scan_info.txt"))
    with pytest.raises(FormatError, match="unzip it"):
        io.load(real("velox_EELS_EDS.zip"))
    header = unzipped("merlin_mib/Merlin_navigation4x2_ROI.zip", "001_4x2_6bit.hdr")
    with pytest.raises(FormatError, match=r"open 001_4x2_6bit\.mib"):
        io.load(header)


def test_arina_frames_are_in_raster_order(real):
    pytest.importorskip("hdf5plugin", reason="ARINA files are compressed with codecs of hdf5plugin")
    import h5py

    path = real("arina/test_00_master.h5")
    dataset = io.load(path)
    signal = dataset.signals["frames"]
    assert [axis.name for axis in signal.axes] == ["y", "x", "ky", "kx"]
    with h5py.File(path, "r") as file:
        first = next(iter(file["entry/data"].values()))[:]
    np.testing.assert_array_equal(np.asarray(signal.data).reshape(-1, 192, 192)[: len(first)], first)
