"""``esteem multiframe``: a series into a container and a report, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import ndimage

from esteemcore import cli, io

SHAPE, CHANNELS = (48, 40), 60
ENERGY = io.Axis("energy", CHANNELS, 5.0, 400.0, "eV")


def frames(n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return images and spectra of a specimen that drifts by (0.5, -0.25) px per frame."""
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.random((80, 80)), 2.5)
    scene = (scene - scene.min()) / np.ptp(scene)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 16.0
    seen = np.array([ndimage.map_coordinates(scene, [y + 0.5 * k, x - 0.25 * k], order=1) for k in range(n)])
    line = (ENERGY.coordinates >= 500) & (ENERGY.coordinates < 550)
    spectra = rng.poisson(0.05 + 0.4 * seen[..., None] * line).astype(np.uint16)
    return rng.poisson(60 * (0.2 + seen)).astype(np.uint16), spectra


@pytest.fixture
def series(tmp_path):
    images, spectra = frames()
    images[3] = 5
    axes = io.Axis("frame", 5), io.Axis("y", 48, 0.1, unit="nm"), io.Axis("x", 40, 0.1, unit="nm")
    signals = {"adf": io.Signal(images, axes), "eels": io.Signal(spectra, (*axes, ENERGY))}
    io.save(tmp_path / "series.esteem", io.Dataset(signals, series=io.SeriesRecord(5)))
    return tmp_path / "series.esteem"


def test_a_series_becomes_a_container_and_a_report(series, tmp_path, capsys) -> None:
    out = tmp_path / "sum.esteem"
    options = ["--map", "Mn:500-550:420-495+555-650", "--upsample", "2", "--model", "rigid"]
    assert cli.main(["multiframe", str(series), str(out), *options]) == 0
    text = capsys.readouterr().out
    assert "4 of 5 frames in the sum" in text
    assert "frame 3 left out: it is constant" in text
    assert re.search(r"map Mn: SNR \d", text)
    stored = io.load(out)
    assert stored.signals["spectra"].data.shape == (96, 80, CHANNELS)
    used = np.delete(frames()[1], 3, axis=0).sum()
    found = stored.metadata["processed_series"]["figures"]
    assert found["counts"] == used
    assert float(np.asarray(stored.signals["spectra"].data, np.float64).sum()) + found["outside"] == pytest.approx(used)
    page = (tmp_path / "sum.html").read_text(encoding="utf-8")
    for words in (
        "Before alignment",
        "After alignment",
        "Drift down",
        "Quality",
        "Mn: sigma",
        "SNR of Mn",
        "Components",
    ):
        assert f"<b>{words}</b>" in page
    assert "it is constant" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # self-contained


def test_nothing_is_replaced_unasked(series, tmp_path, capsys) -> None:
    out = tmp_path / "sum.esteem"
    (tmp_path / "sum.html").write_text("mine")
    assert cli.main(["multiframe", str(series), str(out), "--no-components", "--no-variance"]) == 2
    assert "sum.html exists already" in capsys.readouterr().err
    assert not out.exists()
    assert (tmp_path / "sum.html").read_text() == "mine"
    for _ in range(2):
        options = ["--no-components", "--no-variance", "--overwrite"]
        assert cli.main(["multiframe", str(series), str(out), *options]) == 0
    assert "spectra_variance" not in io.load(out).signals
    assert io.load(out).metadata["processed_series"]["components_against_dose"] == []


def test_the_frames_themselves_are_never_replaced(series, tmp_path, capsys) -> None:
    for source, out, words in (
        (series, series, "would take the place of the frames"),
        (series / "signals", series, "would take the place of the frames"),
        (series, series / "sum.esteem", "choose a place beside it"),
    ):
        assert cli.main(["multiframe", str(source), str(out), "--overwrite"]) == 2
        assert words in capsys.readouterr().err
    assert io.load(series).series.frames == 5
    assert cli.main(["multiframe", str(series), str(tmp_path / "absent" / "sum.esteem")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_several_files_are_frames_one_after_the_other(tmp_path, capsys) -> None:
    axes = io.Axis("y", 48), io.Axis("x", 40)
    paths = []
    for k, image in enumerate(frames(3)[0]):
        paths.append(str(tmp_path / f"{k}.esteem"))
        io.save(paths[-1], io.Dataset({"adf": io.Signal(image, axes)}))
    assert cli.main(["multiframe", *paths, str(tmp_path / "sum.esteem")]) == 0
    assert "3 of 3 frames" in capsys.readouterr().out
    assert cli.main(["multiframe", paths[0], str(tmp_path / "one.esteem")]) == 2
    assert "a series has two or more" in capsys.readouterr().err


def test_without_a_name_the_result_lies_beside_the_series_and_replaces_nothing(series, tmp_path, capsys) -> None:
    options = ["--no-components", "--no-variance", "--model", "rigid"]
    for name in ("series_aligned", "series_aligned_2"):
        assert cli.main(["multiframe", str(series), *options]) == 0
        assert f"{name}.esteem" in capsys.readouterr().out
        assert io.load(tmp_path / f"{name}.esteem").signals["mean"].data.shape == SHAPE
        assert (tmp_path / f"{name}.html").exists()
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["series_aligned.html", "series_aligned_2.html"]


def test_areas_are_aligned_each_and_added_up(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    axes = io.Axis("frame", 4), io.Axis("y", 48, 0.1, unit="nm"), io.Axis("x", 40, 0.1, unit="nm")
    scene = ndimage.gaussian_filter(rng.random((80, 80)), 2.5)
    scene = (scene - scene.min()) / np.ptp(scene)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 16.0
    line = (ENERGY.coordinates >= 500) & (ENERGY.coordinates < 550)
    paths, counts = [], 0
    for name, (dy, dx) in {"one": (0, 0), "two": (5, -3), "other": (0, 0)}.items():
        seen = np.array([ndimage.map_coordinates(scene, [y + dy + 0.4 * k, x + dx], order=1) for k in range(4)])
        if name == "other":
            seen = ndimage.gaussian_filter(rng.random((48, 40)), 2.5)[None] * np.ones((4, 1, 1)) * 3
        spectra = rng.poisson(0.05 + 0.4 * seen[..., None] * line).astype(np.uint16)
        counts += int(spectra.sum()) if name != "other" else 0
        images = rng.poisson(60 * (0.2 + seen)).astype(np.uint16)
        signals = {"adf": io.Signal(images, axes), "eels": io.Signal(spectra, (*axes, ENERGY))}
        paths.append(str(tmp_path / f"{name}.esteem"))
        io.save(paths[-1], io.Dataset(signals, series=io.SeriesRecord(4)))
    out = tmp_path / "sum.esteem"
    assert cli.main(["multiframe", *paths, str(out), "--areas", "--map", "Mn:500-550:420-495+555-650"]) == 0
    text = capsys.readouterr().out
    assert "2 of 3 areas and 8 frames in the sum" in text
    assert "left out: correlation" in text
    assert re.search(r"map Mn: SNR \d", text)
    stored = io.load(out)
    found = stored.metadata["merged_areas"]
    assert found["accepted"] == [True, True, False]
    assert found["frames"] == [4, 4, 0]
    np.testing.assert_allclose(found["shifts_px"][1], (5, -3), atol=0.4)
    assert stored.signals["spectra"].axes[0].scale == pytest.approx(0.1)
    assert 0.85 * counts < float(np.asarray(stored.signals["spectra"].data, np.float64).sum()) <= counts
    page = (tmp_path / "sum.html").read_text(encoding="utf-8")
    assert "Merged areas" in page
    assert "Mn: sigma" in page
    for wrong, words in ((["--bin", "2"], "do not go with --areas"), (["--align-energy", "frame"], "do not go with")):
        assert cli.main(["multiframe", *paths[:2], str(tmp_path / "x.esteem"), "--areas", *wrong]) == 2
        assert words in capsys.readouterr().err
    assert cli.main(["multiframe", paths[0], str(tmp_path / "x.esteem"), "--areas"]) == 2
    assert "one source is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--image", "bf"], "no signal 'bf'; there are 'adf'"),
        (["--map", "Mn500-550"], "is no map"),
        (["--map", "Mn:100-150"], "100"),
        (["--upsample", "99"], "upsample"),
    ],
)
def test_wrong_options_are_errors_in_words(series, tmp_path, capsys, options, words) -> None:
    assert cli.main(["multiframe", str(series), str(tmp_path / "sum.esteem"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "sum.esteem").exists()


def test_energies_are_aligned_and_channels_binned(series, tmp_path, capsys) -> None:
    out = tmp_path / "sum.esteem"
    options = ["--align-energy", "frame", "--feature", "460-600", "--pool", "2", "--bin", "3", "--no-components"]
    assert cli.main(["multiframe", str(series), str(out), *options]) == 0
    stored = io.load(out)
    assert stored.signals["spectra"].data.shape == (48, 40, CHANNELS // 3)
    moved = stored.metadata["processed_series"]["energy_shifts_channels"]
    assert moved[3] is None  # left out
    assert max(abs(shift) for k, shift in enumerate(moved) if k != 3) < 0.3  # nothing drifted
    assert "<b>Energy</b>" in (tmp_path / "sum.html").read_text(encoding="utf-8")
    for wrong, words in (
        (["--align-energy", "pixel", "--feature", "ZLP"], "is no feature"),
        (["--feature", "460-600"], "go with --align-energy"),
        (["--bin", "7"], "divisor of the 60 channels"),
    ):
        assert cli.main(["multiframe", str(series), str(tmp_path / "other.esteem"), *wrong]) == 2
        assert words in capsys.readouterr().err
