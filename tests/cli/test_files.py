"""info, compress, restore and convert, as a user calls them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from esteemcore import cli, io
from esteemcore.cli.options import stem
from esteemcore.events import SparseSI
from esteemcore.io.compare import compare


@pytest.fixture
def counts(rng):
    return rng.poisson(0.05, (12, 14, 200)).astype(np.uint16)


@pytest.fixture
def spectra(rng):
    energy = np.arange(200)
    return rng.poisson(1000 * np.exp(-energy / 60), (12, 14, 200)).astype(np.float32)


@pytest.fixture
def container(tmp_path, counts, spectra):
    """EDS as a dense array, EELS, both plain."""
    axes = (io.Axis("y", 12, 0.1, 0, "nm"), io.Axis("x", 14, 0.1, 0, "nm"))
    signals = {
        "eds": io.Signal(counts, (*axes, io.Axis("energy", 200, 0.01, 0, "keV"))),
        "eels": io.Signal(spectra, (*axes, io.Axis("energy", 200, 0.5, 280, "eV"))),
    }
    metadata = {"credits": {"title": "Test", "authors": ["Curie, Marie"], "license": "CC-BY-4.0"}}
    path = tmp_path / "plain.esteem"
    io.save(path, io.Dataset(signals, metadata=metadata), codec=dict.fromkeys(signals, "zstd"))
    return path


def test_info_tells_codecs_sizes_and_credits(container, capsys) -> None:
    assert cli.main(["info", str(container)]) == 0
    text = capsys.readouterr().out
    assert "eels: dense float32, y 12 x x 14 x energy 200, zstd" in text
    assert "closed: yes" in text
    assert "CC-BY-4.0" in text
    io.pack(container)
    assert cli.main(["info", f"{container}.zip"]) == 0


def test_info_of_another_programs_file(container, tmp_path, capsys) -> None:
    cli.main(["convert", str(container), str(tmp_path / "a.hspy"), "--signal", "eels"])
    capsys.readouterr()
    assert cli.main(["info", str(tmp_path / "a.hspy")]) == 0
    text = capsys.readouterr().out
    assert "HSPY file" in text
    assert "on disk for 134.4 kB in memory" in text


def test_compress_and_restore_without_loss(container, tmp_path, capsys, counts, spectra) -> None:
    small, back = tmp_path / "small.esteem", tmp_path / "back.esteem"
    assert cli.main(["compress", str(container), str(small), "--signal", "eds", "--codec", "esteem.events"]) == 0
    text = capsys.readouterr().out
    assert text.count("all 33,600 values are the same") == 2
    raw, stored, ratio = re.search(r"raw ([\d.]+) kB, stored ([\d.]+) kB, ([\d.]+) times smaller", text).groups()
    assert float(raw) == pytest.approx((counts.nbytes + spectra.nbytes) / 1e3, abs=0.1)
    assert float(ratio) == pytest.approx(float(raw) / float(stored), rel=0.01)
    assert {s.name: s.codec for s in io.info(small).signals}["eds"] == "esteem.events"
    assert cli.main(["restore", str(small), str(back)]) == 0
    restored = io.load(back)
    assert {s.codec for s in io.info(back).signals} == {"zstd"}
    np.testing.assert_array_equal(np.asarray(restored.signals["eds"].data), counts)
    np.testing.assert_array_equal(np.asarray(restored.signals["eels"].data), spectra)
    assert restored.metadata["credits"]["license"] == "CC-BY-4.0"


def test_restore_makes_events_dense(tmp_path, capsys, counts) -> None:
    axes = tuple(io.Axis(name, n) for name, n in zip(("y", "x", "energy"), counts.shape, strict=True))
    events = io.Signal(SparseSI.from_dense(counts), axes, "events")
    io.save(tmp_path / "e.esteem", io.Dataset({"eds": events}))
    assert cli.main(["restore", str(tmp_path / "e.esteem"), str(tmp_path / "d.esteem")]) == 0
    assert "the same" in capsys.readouterr().out
    signal = io.load(tmp_path / "d.esteem").signals["eds"]
    assert signal.kind == "dense"
    np.testing.assert_array_equal(np.asarray(signal.data), counts)
    assert cli.main(["compress", str(tmp_path / "e.esteem"), str(tmp_path / "f.esteem")]) == 0
    assert "all 33,600 values are the same" in capsys.readouterr().out


def test_a_loss_that_was_asked_for_is_measured(container, tmp_path, capsys, spectra) -> None:
    small, back = tmp_path / "small.esteem", tmp_path / "back.esteem"
    options = ["--signal", "eels", "--bound-sigma", "0.5", "--gain", "1", "--readout-sigma", "2"]
    assert cli.main(["compress", str(container), str(small), *options]) == 0
    text = capsys.readouterr().out
    decoded = np.asarray(io.load(small).signals["eels"].data)
    error = np.abs(decoded.astype(float) - spectra)
    assert (error <= 0.5 * np.sqrt(spectra + 4) + 1e-9).all()
    largest = float(re.search(r"lossy as asked: largest error ([\d.]+)", text)[1])
    assert largest == pytest.approx(error.max(), rel=1e-3)
    assert float(re.search(r"by at most ([\d.]+),", text)[1]) == pytest.approx(error.max(), rel=1e-3)
    assert cli.main(["restore", str(small), str(back)]) == 0
    assert "what was lost before is not there again" in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(io.load(back).signals["eels"].data), decoded)


@pytest.mark.parametrize("suffix", [".hspy", ".zspy", ".nxs", ".emd", ".ndata", ".ndata1", ".h5", ".nhdf", ".esteem"])
def test_convert(container, tmp_path, capsys, suffix, spectra) -> None:
    out = tmp_path / f"out{suffix}"
    assert cli.main(["convert", str(container), str(out), "--signal", "eels"]) == 0
    assert out.exists()
    assert "eels" in capsys.readouterr().out
    if suffix in (".hspy", ".nxs", ".emd", ".esteem"):
        arrays = [np.asarray(signal.data) for signal in io.load(out).signals.values()]
        assert any(np.array_equal(array, spectra) for array in arrays)


def test_convert_packs_a_container_as_it_is(container, tmp_path, capsys, spectra) -> None:
    out = tmp_path / "to mail.esteem.zip"
    assert cli.main(["convert", str(container), str(out)]) == 0
    assert f"{out}: " in capsys.readouterr().out
    assert io.verify(out) == []
    mailed = io.load(out)
    np.testing.assert_array_equal(np.asarray(mailed.signals["eels"].data), spectra)
    assert mailed.credits.title == "Test"
    for wrong, message in (
        ([str(container), str(out)], "--overwrite"),
        ([str(container), str(out), "--overwrite", "--signal", "eels"], "no use"),
        ([str(out), str(tmp_path / "b.esteem.zip")], "make one first"),
        ([str(tmp_path), str(tmp_path / "b.esteem.zip")], "not a container"),
    ):
        assert cli.main(["convert", *wrong]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["convert", str(container), str(out), "--overwrite"]) == 0


def test_compare_sees_every_difference(counts) -> None:
    axes = tuple(io.Axis(name, n) for name, n in zip(("y", "x", "energy"), counts.shape, strict=True))
    other = counts.copy()
    other[3, 4, 5] += 2
    other[11, 13, 199] += 1
    makers = (lambda a: io.Signal(a, axes), lambda a: io.Signal(SparseSI.from_dense(a), axes, "events"))
    for first in makers:
        for second in makers:
            found = compare(first(counts), second(other), "eds", lambda n: None)
            assert (found.values, found.different, found.largest) == (counts.size, 2, 2)
            assert found.rms == pytest.approx(np.sqrt(5 / counts.size))
            assert not compare(first(counts), second(counts), "eds", lambda n: None).different
    gaps = np.where(counts == 1, np.nan, counts)
    assert not compare(io.Signal(gaps, axes), io.Signal(gaps.copy(), axes), "eds", lambda n: None).different
    assert (
        compare(io.Signal(gaps, axes), io.Signal(counts, axes), "eds", lambda n: None).different == (counts == 1).sum()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "missing.esteem"], "missing.esteem does not exist"),
        (["compress", "FILE", "a.esteem", "--codec", "esteem.lossless"], "name one of eds, eels with --signal"),
        (["compress", "FILE", "a.esteem", "--signal", "eels"], "give one of them"),
        (["compress", "FILE", "a.esteem", "--gain", "2"], "which needs --bound-sigma"),
        (["compress", "FILE", "a.esteem", "--codec", "esteem.eels-bounded", "--signal", "eels"], "--bound-sigma"),
        (["compress", "FILE", "a.esteem", "--bound-sigma", "1", "--signal", "x"], "there is no signal 'x'"),
        (["compress", "FILE", "a.txt"], "is not a name for a container"),
        (["compress", "FILE", "FILE"], "exists already"),
        (["restore", "FILE", "FILE"], "exists already"),
        (["convert", "FILE", "a.hspy"], "name one of 'eds', 'eels'"),
        (["convert", "FILE", "a.emd", "--signal", "eels", "--memory-gb", "0"], "memory_bytes"),
        (["convert", "FILE", "a.xyz"], "end it in"),
        (["convert", "FILE", "a.tif", "--signal", "eels"], "TIFF"),
        (["convert", "FILE", "a.esteem", "--signal", "x"], "there is no signal 'x'"),
        (["convert", "FILE", "a.esteem", "--signal-type", "EELS"], "--signal-type is for"),
        (["reproduce", "FILE"], "holds no recorded results"),
    ],
)
def test_errors_are_one_line(container, tmp_path, capsys, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([str(container) if word == "FILE" else word for word in arguments]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain.esteem"]


def test_a_dot_in_the_name_of_a_plain_folder_begins_no_ending(tmp_path) -> None:
    for name in ("Scan 1.5 nA", "Scan 1.5 nA.esteem"):
        (tmp_path / name).mkdir()
        assert stem(tmp_path / name) == "Scan 1.5 nA"
    assert stem(tmp_path / "Scan 1.5 nA.dm4") == "Scan 1.5 nA"
