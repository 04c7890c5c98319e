"""``esteem compress``: coarse blocks on demand, and which codec a signal gets without being asked for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from esteemcore import cli, io
from esteemcore.codec.eels import decode_eels, encode_eels
from esteemcore.io import choose_codec

ENERGY = 280 + 0.5 * np.arange(400)


@pytest.fixture
def spectra(rng):
    """EELS (13, 17, 400) with an edge whose height varies, and one cosmic ray."""
    y, x = np.mgrid[:13, :17]
    edge = np.exp(-np.maximum(ENERGY - 400, 0) / 40) * (ENERGY > 400)
    clean = 4000 * (ENERGY / 280) ** -3 + 300 * (1 + 0.5 * np.sin(x / 3 + y / 5))[..., None] * edge
    counts = rng.poisson(clean).astype(np.float32)
    counts[3, 4, 60] += 9000
    return counts


def save(path, data, name="eels", unit="eV", last="energy", **codec):
    axes = (
        io.Axis("y", 13, 0.1, 0, "nm"),
        io.Axis("x", 17, 0.1, 0, "nm"),
        io.Axis(last, data.shape[-1], 0.5, 280, unit),
    )
    io.save(path, io.Dataset({name: io.Signal(data, axes)}), codec=codec or {name: "zstd"})
    return path


def compress(path, tmp_path, *options):
    out = tmp_path / "small.esteem"
    assert cli.main(["compress", str(path), str(out), *options]) == 0
    return io.load(out).signals, {signal.name: signal for signal in io.info(out).signals}


def test_coarse_blocks_in_the_unit_of_the_axis(spectra, tmp_path, capsys) -> None:
    path = save(tmp_path / "plain.esteem", spectra)
    options = ["--blocks", "280:395:16,395:430:1,430:480:20", "--pca", "6", "--gain", "1", "--readout-sigma", "2"]
    signals, info = compress(path, tmp_path, *options)
    text = capsys.readouterr().out
    assert "blocks in eV 280:395:16,395:430:1,430:480:20" in text
    blocks = [(0, 230, 16), (230, 300, 1), (300, 400, 20)]
    configuration = info["eels"].configuration
    assert info["eels"].lossy
    assert configuration["blocks"] == [list(block) for block in blocks]
    assert (configuration["n_components"], configuration["gain"], configuration["readout_sigma"]) == (6, 1, 2)
    decoded = np.asarray(signals["eels"].data)
    expected = decode_eels(encode_eels(spectra, blocks=blocks, n_components=6, readout_sigma=2.0))
    np.testing.assert_array_equal(decoded, expected)
    np.testing.assert_array_equal(decoded[..., 230:300], spectra[..., 230:300])  # whole counts of four figures
    (loss,) = signals["eels"].metadata["loss"]
    error = np.abs(decoded.astype(float) - spectra)
    assert loss["largest_error"] == error.max() > 8000
    assert loss["rms_error"] == pytest.approx(np.sqrt((error**2).mean()))
    assert loss["voxels_beyond_8_sigma"] == 1
    assert 0 < loss["shift_of_mean_sigma"] < 0.1
    assert 0.5 < loss["rms_error_sigma"] < 1.1
    assert float(re.search(r"rms ([\d.]+) of the noise; 1 voxels", text)[1]) == pytest.approx(
        loss["rms_error_sigma"], abs=1e-3
    )


def test_blocks_that_are_chosen(spectra, tmp_path, capsys) -> None:
    path = save(tmp_path / "plain.esteem", spectra, unit="")
    signals, info = compress(path, tmp_path, "--blocks", "auto")
    (loss,) = signals["eels"].metadata["loss"]
    blocks = loss["configuration"]["blocks"]
    assert blocks == info["eels"].configuration["blocks"]
    factors = np.concatenate([np.full(stop - start, factor) for start, stop, factor in blocks])
    assert factors.shape == (400,)
    assert factors[240] == 1  # the edge
    assert factors[:200].min() >= 8
    told = capsys.readouterr()
    assert "blocks in channels 280:" in told.out
    assert told.err.index("choosing blocks: ") < told.err.index("writing: ")
    assert info["eels"].stored_bytes < spectra.nbytes / 8


def test_zarr_reads_what_compress_wrote(spectra, tmp_path) -> None:
    import zarr

    path = save(tmp_path / "plain.esteem", spectra)
    signals, _ = compress(path, tmp_path, "--blocks", "280:480:20")
    array = zarr.open_array(tmp_path / "small.esteem" / "signals" / "eels", mode="r")
    np.testing.assert_array_equal(array[...], np.asarray(signals["eels"].data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--blocks", "280:300"], "blocks are '280:300'"),
        (["--blocks", "280:300:x"], "expected start:stop:factor"),
        (["--blocks", ""], "blocks are ''"),
        (["--blocks", "280:300:0"], "the factor of block 0"),
        (["--blocks", "300:280:4"], "holds no channel"),
        (["--blocks", "280:320:4,300:340:4"], "before the end of the block before it"),
        (["--blocks", "nan:320:4"], "the start of block 0"),
        (["--blocks", "auto", "--pca", "-1"], "n_components"),
        (["--blocks", "auto", "--gain", "0"], "gain"),
        (["--blocks", "auto", "--bound-sigma", "1"], "both given"),
        (["--blocks", "auto", "--codec", "esteem.lossless"], "--blocks is for esteem.eels-blocks"),
        (["--codec", "esteem.eels-blocks"], "say how much with --blocks"),
        (["--pca", "4"], "say how much with --blocks"),
        (["--readout-sigma", "4"], "needs --bound-sigma or --blocks"),
    ],
)
def test_options_that_do_not_fit(spectra, tmp_path, capsys, options, message) -> None:
    path = save(tmp_path / "plain.esteem", spectra)
    assert cli.main(["compress", str(path), str(tmp_path / "out.esteem"), *options]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert not (tmp_path / "out.esteem").exists()


def test_coarse_blocks_of_an_image_are_refused(tmp_path, capsys, rng) -> None:
    axes = (io.Axis("y", 8), io.Axis("x", 9))
    io.save(tmp_path / "i.esteem", io.Dataset({"adf": io.Signal(rng.normal(size=(8, 9)), axes)}))
    assert cli.main(["compress", str(tmp_path / "i.esteem"), str(tmp_path / "o.esteem"), "--blocks", "auto"]) == 2
    assert "stores spectra" in capsys.readouterr().err


def test_dense_counts_are_stored_as_events_where_that_is_smaller(rng, tmp_path) -> None:
    eds = rng.poisson(0.02, (13, 17, 400))
    for dtype in (np.uint16, np.int32, ">u2", np.uint64):
        path = save(tmp_path / f"{np.dtype(dtype).name}{dtype == '>u2'}.esteem", eds.astype(dtype), unit="keV")
        signals, info = compress(path, tmp_path, "--overwrite")
        assert info["eels"].codec == "esteem.events", dtype
        assert signals["eels"].kind == "dense"
        np.testing.assert_array_equal(np.asarray(signals["eels"].data), eds)
    many = rng.poisson(np.geomspace(9000, 40, 400), (13, 17, 400)).astype(np.uint32)  # events: 5 % smaller, much slower
    _, info = compress(save(tmp_path / "many.esteem", many), tmp_path, "--overwrite")
    assert info["eels"].codec == "esteem.lossless"


def test_the_rim_of_an_image_is_no_reason_for_a_codec(rng, tmp_path, monkeypatch) -> None:
    """One and a quarter blocks of zstd: the zeros that pad the second one are none of the data."""
    eds = rng.poisson(0.02, (13, 17, 400)).astype(np.uint8)
    monkeypatch.setattr(choose_codec, "BLOCK_BYTES", 11 * 17 * 400)
    _, info = compress(save(tmp_path / "plain.esteem", eds, unit="keV"), tmp_path)
    assert info["eels"].codec == "esteem.events"


@pytest.mark.parametrize("place", [(6, 8, 200), (0, 0, 0), (12, 16, 399)])
def test_counts_that_no_event_can_be_are_never_tried_as_events(rng, tmp_path, place) -> None:
    for dtype, value in ((np.int16, -1), (np.int64, -1), (np.uint64, 2**32), (np.int64, 2**40)):
        data = rng.poisson(0.02, (13, 17, 400)).astype(dtype)
        data[place] = value
        _, info = compress(save(tmp_path / f"{dtype.__name__}{value}.esteem", data), tmp_path, "--overwrite")
        assert info["eels"].codec != "esteem.events"


def test_cathodoluminescence_and_floats_go_to_lossless(rng, tmp_path) -> None:
    wavelength = rng.normal(500, 3, (13, 17, 400)).astype(np.float32)
    path = save(tmp_path / "cl.esteem", wavelength, name="cl", unit="nm", last="wavelength")
    signals, info = compress(path, tmp_path)
    assert info["cl"].codec == "esteem.lossless"
    np.testing.assert_array_equal(np.asarray(signals["cl"].data), wavelength)
    path = save(tmp_path / "eels.esteem", wavelength)
    assert compress(path, tmp_path, "--overwrite")[1]["eels"].codec == "esteem.lossless"
