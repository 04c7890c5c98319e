"""``esteem unmix``: a spectrum image of any kind into a container and a report, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib
import re

import numpy as np
import pytest

from esteemcore import cli, io, spectral
from esteemcore.cli.spectrum_image import open_spectra
from esteemcore.events import SparseSI

SHAPE, CHANNELS = (16, 20), 50
AXES = io.Axis("y", 16, 2.0, unit="nm"), io.Axis("x", 20, 2.0, unit="nm")
ENERGY = io.Axis("energy", CHANNELS, 0.02, 1.0, "keV")


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Return two spectra with a line each, and how much of each is where."""
    channel = np.arange(CHANNELS)
    spectra = np.exp(-((channel - np.array([[12], [35]])) ** 2) / 6) + 0.02
    spectra /= spectra.sum(axis=1, keepdims=True)
    ramp = np.broadcast_to(np.linspace(0, 1, 20) ** 2, SHAPE)
    return spectra, np.stack([40 * (1 - ramp), 30 * ramp])


def counts(seed: int = 0) -> np.ndarray:
    spectra, amounts = truth()
    return np.random.default_rng(seed).poisson(np.einsum("nyx,ne->yxe", amounts, spectra)).astype(np.uint16)


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "eds.esteem"
    io.save(path, io.Dataset({"eds": io.Signal(SparseSI.from_dense(counts()), (*AXES, ENERGY), kind="events")}))
    return path


def test_events_become_a_container_and_a_report(events, tmp_path, capsys) -> None:
    out = tmp_path / "found.esteem"
    options = ["--map", "A:1200-1300:1100-1160+1340-1500", "--seed", "3"]
    assert cli.main(["unmix", str(events), str(out), *options]) == 0
    text = capsys.readouterr().out
    assert "2 components by nmf" in text
    assert "components above noise: 2" in text
    assert re.search(r"component 0: \d+(\.\d)? % of the counts, strongest at 1240 eV", text)
    assert re.search(r"component 1: .* strongest at 1700 eV", text)
    assert re.search(r"map A: SNR \d", text)
    stored = io.load(out)
    spectra = np.asarray(stored.signals["spectra"].data)
    direct = spectral.unmix(SparseSI.from_dense(counts()), 2, seed=3)
    np.testing.assert_array_equal(spectra, direct.spectra)
    np.testing.assert_array_equal(np.asarray(stored.signals["abundances"].data), direct.abundances)
    likeness = (spectra * truth()[0]).sum(axis=1) / np.linalg.norm(spectra, axis=1) / np.linalg.norm(truth()[0], axis=1)
    assert np.degrees(np.arccos(likeness)).max() < 8
    axis = stored.signals["spectra"].axes[-1]
    assert (axis.unit, axis.scale, axis.offset) == ("eV", 20.0, 1000.0)
    assert stored.signals["abundances"].axes[1:] == AXES
    made = stored.metadata["unmixing"]
    assert made["provenance"]["input_digest"] == direct.provenance.input_digest
    assert made["rank"]["n"] == 2
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    for words in ("Scree", "Component 0: spectrum", "Component 1: abundance", "Residual by channel", "A: sigma"):
        assert f"<b>{words}</b>" in page
    assert "Recommended: 2" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # self-contained


def test_the_same_counts_in_a_file_of_another_kind_give_the_same(events, tmp_path) -> None:
    dense = tmp_path / "dense.esteem"
    io.save(dense, io.Dataset({"eds": io.Signal(counts(), (*AXES, ENERGY))}))
    foreign = tmp_path / "eds.hspy"
    assert cli.main(["convert", str(events), str(foreign)]) == 0
    found = []
    for source in (events, dense, foreign):
        out = tmp_path / f"of_{source.suffix[1:]}_{source.stem}.esteem"
        assert cli.main(["unmix", str(source), str(out), "--components", "2", "--method", "nmf"]) == 0
        found.append(np.asarray(io.load(out).signals["spectra"].data))
    np.testing.assert_array_equal(found[1], found[2])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-9)


def test_mostly_empty_counts_become_sparse_whatever_holds_them(tmp_path) -> None:
    few = np.random.default_rng(0).poisson(0.02, (*SHAPE, CHANNELS)).astype(np.uint8)
    for name, data in (("few", few), ("many", few + np.uint8(1)), ("real", few.astype(np.float32))):
        path = tmp_path / f"{name}.esteem"
        io.save(path, io.Dataset({"eds": io.Signal(data, (*AXES, ENERGY))}))
        image = open_spectra(path)
        assert isinstance(image.data, SparseSI) == (name == "few")
        dense = image.data.to_dense() if name == "few" else image.data
        np.testing.assert_array_equal(dense, data)
        np.testing.assert_allclose(image.energy, 1000 + 20 * np.arange(CHANNELS))
        assert image.pixel_nm == (2.0, 2.0)


def test_pixels_of_the_mask_are_left_out(events, tmp_path, capsys) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[:5] = 0
    np.save(tmp_path / "mask.npy", mask)
    unmeasured = np.where(mask > 0, 0.3, np.nan)  # a map of an earlier run as the mask
    io.save(tmp_path / "mask.esteem", io.Dataset({"mask": io.Signal(unmeasured, AXES)}))
    enough = (counts().sum(axis=-1) >= 30) & (mask > 0)
    for name in ("mask.npy", "mask.esteem"):
        out = tmp_path / f"masked_{name}.esteem"
        options = ["--components", "2", "--mask", str(tmp_path / name), "--least-counts", "30"]
        assert cli.main(["unmix", str(events), str(out), *options]) == 0
        stored = io.load(out)
        np.testing.assert_array_equal(np.asarray(stored.signals["mask"].data) > 0, enough)
        assert np.isnan(np.asarray(stored.signals["abundances"].data)[:, ~enough]).all()
    np.save(tmp_path / "turned.npy", mask.T)
    for options, words in (
        (["--mask", str(tmp_path / "turned.npy")], "has shape (20, 16); expected (16, 20)"),
        (["--least-counts", "1e9"], "ask for fewer"),
    ):
        assert cli.main(["unmix", str(events), str(tmp_path / "no.esteem"), *options]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("unit", ["nA", ""])
def test_what_are_no_counts_is_called_intensity_in_its_unit(tmp_path, capsys, unit) -> None:
    spectra, amounts = truth()
    values = np.einsum("nyx,ne->yxe", amounts, spectra) + np.random.default_rng(0).normal(0, 0.05, (*SHAPE, CHANNELS))
    path, out = tmp_path / "cl.esteem", tmp_path / "found.esteem"
    io.save(path, io.Dataset({"cl": io.Signal(values, (*AXES, ENERGY), metadata={"unit": unit} if unit else {})}))
    assert cli.main(["unmix", str(path), str(out), "--components", "2"]) == 0
    text, page = capsys.readouterr().out, out.with_suffix(".html").read_text(encoding="utf-8")
    assert re.search(r"component 0: \d+(\.\d)? % of the intensity, strongest at", text)
    assert "of the counts" not in text
    assert "share of the counts" not in page
    assert f"intensity in {unit or 'the unit of the data'}, " in page
    assert io.load(out).signals["abundances"].metadata.get("unit", "") == unit


def test_standard_deviations_are_kept_where_the_method_has_them(events, tmp_path) -> None:
    small = tmp_path / "small.esteem"
    io.save(small, io.Dataset({"eds": io.Signal(counts()[:8, ::2], (io.Axis("y", 8), io.Axis("x", 10), ENERGY))}))
    out = tmp_path / "blu.esteem"
    assert cli.main(["unmix", str(small), str(out), "--components", "2", "--method", "blu"]) == 0
    stored = io.load(out).signals
    assert stored["spectra_sigma"].data.shape == (2, CHANNELS)
    assert (np.asarray(stored["abundances_sigma"].data) > 0).all()
    assert "<b>Component 1: sigma</b>" in out.with_suffix(".html").read_text(encoding="utf-8")


def test_uncertainty_is_stored_by_cause_printed_and_shown(events, tmp_path, capsys, monkeypatch) -> None:
    module = importlib.import_module("esteemcore.spectral.uncertainty")
    for name, value in (("DRAWS", 3), ("COMPARED", 2), ("REPEATS", 1)):
        monkeypatch.setattr(module, name, value)
    chains = importlib.import_module("esteemcore.spectral.methods.blu")
    for name, value in (("WARM_UP", 20), ("DRAWS", 30), ("ROUNDS", 1)):
        monkeypatch.setattr(chains, name, value)
    out = tmp_path / "sure.esteem"
    assert cli.main(["unmix", str(events), str(out), "--components", "2", "--uncertainty"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"spectra are sure within [\d.]+, [\d.]+ degrees", text)
    stored = io.load(out)
    direct = spectral.uncertainty(SparseSI.from_dense(counts()), 2)
    np.testing.assert_array_equal(np.asarray(stored.signals["spectra_sigma"].data), direct.total.spectra)
    np.testing.assert_array_equal(np.asarray(stored.signals["abundances_sigma"].data), direct.total.abundances)
    for name, part in direct.parts.items():
        np.testing.assert_array_equal(np.asarray(stored.signals[f"spectra_sigma_{name}"].data), part.spectra)
        np.testing.assert_array_equal(np.asarray(stored.signals[f"abundances_sigma_{name}"].data), part.abundances)
    known = stored.metadata["unmixing"]["uncertainty"]
    assert known["angle_deg"] == direct.total.angle_deg.tolist()
    assert [other["method"] for other in known["agreement"]] == ["spa"]
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    for words in ("How sure", "other methods, beyond noise", "by noise alone", "Component 1: sigma of the spectrum"):
        assert words in page


def test_where_the_number_cannot_be_told_what_is_sure_is_taken(events, tmp_path, capsys, monkeypatch) -> None:
    rank = spectral.estimate_rank(SparseSI.from_dense(counts()))
    unsure = dataclasses.replace(rank, n=None, at_least=2, reason="curves do not part")
    monkeypatch.setattr(spectral, "estimate_rank", lambda *args, **kwargs: unsure)
    out = tmp_path / "found.esteem"
    assert cli.main(["unmix", str(events), str(out)]) == 0
    assert "components above noise: at least 2 (curves do not part)" in capsys.readouterr().out
    assert io.load(out).signals["spectra"].data.shape[0] == 2
    assert "2 stand above noise for sure" in out.with_suffix(".html").read_text(encoding="utf-8")


def test_a_bound_that_was_reached_is_no_number(events, tmp_path, capsys, monkeypatch) -> None:
    rank = spectral.estimate_rank(SparseSI.from_dense(counts()))
    asked = []

    def reached(data, **chosen):
        asked.append(chosen)
        return dataclasses.replace(rank, n=None, at_least=12, reason="at least 12 stand above noise")

    monkeypatch.setattr(spectral, "estimate_rank", reached)
    options = ["--gain", "3", "--readout-sigma", "0.5", "--noise", "gaussian"]
    assert cli.main(["unmix", str(events), str(tmp_path / "found.esteem"), *options]) == 2
    assert "at least 12 stand above noise. Say how many with --components N" in capsys.readouterr().err
    assert {"gain": 3.0, "readout_sigma": 0.5, "noise": "gaussian"}.items() <= asked[0].items()


def test_nothing_is_replaced_unasked_and_the_spectra_never(events, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["unmix", str(events), "--components", "2"]) == 0
    assert (tmp_path / "eds_unmixed.esteem").is_dir()
    assert cli.main(["unmix", str(events), "--components", "2"]) == 2
    assert "eds_unmixed.esteem exists already" in capsys.readouterr().err
    assert cli.main(["unmix", str(events), "--components", "1", "--overwrite"]) == 0
    assert len(io.load(tmp_path / "eds_unmixed.esteem").signals["spectra"].data) == 1
    assert cli.main(["unmix", str(events), str(events), "--overwrite"]) == 2
    assert "would take the place of the spectra" in capsys.readouterr().err
    assert io.load(events).signals["eds"].kind == "events"


def test_a_number_that_cannot_be_told_is_asked_for(tmp_path, capsys) -> None:
    path = tmp_path / "empty.esteem"
    few = np.zeros((*SHAPE, CHANNELS), np.uint16)
    few[0, :9, 3] = 1
    io.save(path, io.Dataset({"eds": io.Signal(few, (*AXES, ENERGY))}))
    assert cli.main(["unmix", str(path), str(tmp_path / "found.esteem")]) == 2
    text = capsys.readouterr().err
    assert "9 events in all" in text
    assert "--components N" in text
    assert not (tmp_path / "found.esteem").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--components", "two"], "expected a number above zero, or auto"),
        (["--components", "0"], "expected a number above zero, or auto"),
        (["--signal", "eels"], "no signal 'eels'; there are 'eds'"),
        (["--map", "A:5-9"], "holds no channel"),
        (["--map", "A12"], "is no map"),
        (["--energy", "0", "-1"], "dispersion is -1 eV"),
        (["--components", "99"], "n_components is 99"),
    ],
)
def test_wrong_options_are_errors_in_words(events, tmp_path, capsys, options, words) -> None:
    assert cli.main(["unmix", str(events), str(tmp_path / "found.esteem"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "found.esteem").exists()


def test_files_without_one_spectrum_image_are_told(tmp_path, capsys) -> None:
    spectra = io.Signal(counts(), (*AXES, ENERGY))
    series = io.Signal(counts()[None], (io.Axis("frame", 1), *AXES, ENERGY))
    cases = {
        "image": ({"adf": io.Signal(np.ones(SHAPE), AXES)}, "holds no spectrum image"),
        "series": ({"eds": series}, "added up by esteem multiframe"),
        "both": ({"eds": spectra, "eels": spectra}, "eds, eels; choose one with --signal"),
    }
    for name, (signals, words) in cases.items():
        io.save(tmp_path / f"{name}.esteem", io.Dataset(signals))
        assert cli.main(["unmix", str(tmp_path / f"{name}.esteem"), str(tmp_path / "found.esteem")]) == 2
        assert words in capsys.readouterr().err


def test_an_axis_in_channels_takes_energies_from_the_user(tmp_path, capsys) -> None:
    path = tmp_path / "eds.esteem"
    io.save(path, io.Dataset({"eds": io.Signal(counts(), (*AXES, io.Axis("energy", CHANNELS)))}))
    options = ["--components", "2", "--map", "A:1200-1300"]
    assert cli.main(["unmix", str(path), str(tmp_path / "no.esteem"), *options]) == 2
    assert "give --energy OFFSET DISPERSION" in capsys.readouterr().err
    assert cli.main(["unmix", str(path), str(tmp_path / "found.esteem"), *options, "--energy", "1000", "20"]) == 0
    assert "strongest at 1240 eV" in capsys.readouterr().out
    mapped = np.asarray(io.load(tmp_path / "found.esteem").signals["map_A"].data)
    np.testing.assert_array_equal(mapped, counts()[..., 10:15].sum(axis=-1))
