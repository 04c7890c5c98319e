"""The commands as a user calls them."""

from __future__ import annotations

import functools
import itertools
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageFont

from esteemcore import cli, fourd, io, stream
from esteemcore.cli import demo_run, live, pictures
from esteemcore.errors import StreamError
from esteemcore.events import pack_bits


@pytest.fixture
def container(tmp_path, rng):
    """A small one-bit scan in shuffled order, with calibrations."""
    spec = stream.Spec((6, 5), (32, 32), np.dtype("u1"), packed=True)
    geometry = fourd.Geometry(scan_step_nm=0.05, beam_energy_kev=200, semiangle_mrad=20, pixel_mrad=2.5)
    frames = pack_bits(rng.random((30, 32, 32)) < 0.3)
    path = tmp_path / "scan.esteem"
    with io.Writer(path, spec, geometry=geometry) as writer:
        writer.append(stream.Chunk(rng.permutation(30), frames))
    return path


def test_the_demo_shows_the_phase_forming(tmp_path, capsys) -> None:
    out = tmp_path / "demo"
    assert cli.main(["demo", "--out", str(out), "--scan", "48", "--rate", "50000", "--core-only"]) == 0
    text = capsys.readouterr().out
    found = re.findall(r"([\d,]+) e/Å²: SSB correlation ([\d.]+), scale ([\d.]+)", text)
    assert [dose for dose, *_ in found] == ["200", "2,000"]
    low, high = (float(correlation) for _, correlation, _ in found)
    assert 0.3 < low < high
    assert high > 0.75
    assert all(0.7 < float(scale) < 1.1 for *_, scale in found)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == 20
    assert "http" not in page
    assert "NO</td>" not in page
    for dose in (200, 2000):
        shown = [float(v) for v in re.findall(r"correlation ([\d.]+)", page.split(f"<h2>{dose:,} e/Å²")[1])[:4]]
        assert shown == sorted(shown)
        raw = io.load(out / f"zeolite_{dose}.esteem")
        assert sorted(raw.scan.index) == list(range(48 * 48))
        for share in (10, 25, 50, 100):
            assert (out / f"ssb_{dose}_{share:03d}.png").stat().st_size > 1000


def test_the_demo_is_the_same_every_time(tmp_path, capsys) -> None:
    pages = []
    for name in ("a", "b"):
        cli.main(["demo", "--out", str(tmp_path / name), "--scan", "32", "--rate", "1e6", "--core-only"])
        pages.append((tmp_path / name / "ssb_2000_100.png").read_bytes())
    assert pages[0] == pages[1]


def test_the_demo_without_nion_swift_says_so(tmp_path, capsys, monkeypatch) -> None:
    """It never takes the frames in another way on its own."""
    monkeypatch.delitem(sys.modules, "esteem_sim.demo", raising=False)
    monkeypatch.setitem(sys.modules, "nion.swift.model", None)
    assert cli.main(["demo", "--out", str(tmp_path / "out"), "--scan", "8"]) == 2
    assert 'Nion Swift (nion.swift.model) is not installed; run: python -m pip install "nionswift-esteem[app]"' in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_comparison_measures_scale_and_correlation(rng) -> None:
    truth = rng.normal(size=(20, 20))
    truth -= truth.mean()
    correlation, scale = demo_run.compare(0.5 * truth + 3, truth)
    assert correlation == pytest.approx(1)
    assert scale == pytest.approx(0.5)


def test_live_replays_a_file(container, tmp_path, capsys) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy.esteem"
    assert cli.main(["live", str(container), "--out", str(out), "--keep", str(copy), "--chunk", "7"]) == 0
    text = capsys.readouterr().out
    assert "30 frames at 30 of 30 positions" in text
    for name in ("bf", "adf", "icom", "ssb", "mean_frame"):
        assert (out / f"{name}.png").exists()
    first, second = io.load(container), io.load(copy)
    np.testing.assert_array_equal(first.scan.index, second.scan.index)
    np.testing.assert_array_equal(*(np.asarray(d.signals["frames"].data[:]) for d in (first, second)))
    assert second.geometry["semiangle_mrad"] == 20


def test_live_without_calibrations_says_what_is_missing(tmp_path, capsys, rng) -> None:
    spec = stream.Spec((2, 3), (16, 16), np.dtype("u2"))
    path = tmp_path / "plain.esteem"
    with io.Writer(path, spec) as writer:
        writer.append(stream.Chunk(np.arange(6), rng.poisson(2, (6, 16, 16)).astype(np.uint16)))
    assert cli.main(["live", str(path), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "--scan-step-nm, --beam-energy-kev, --semiangle-mrad, --pixel-mrad" in text
    assert (tmp_path / "out" / "sum.png").exists()
    given = ["--scan-step-nm", "0.1", "--beam-energy-kev", "80", "--semiangle-mrad", "12", "--pixel-mrad", "3"]
    assert cli.main(["live", str(path), "--out", str(tmp_path / "out"), *given, "--defocus-nm", "5"]) == 0
    assert (tmp_path / "out" / "ssb.png").exists()
    given[5] = "90"
    assert cli.main(["live", str(path), "--out", str(tmp_path / "out"), *given]) == 2
    assert "does not fit on the detector" in capsys.readouterr().err


def test_show_prints_and_pictures(container, tmp_path, capsys) -> None:
    assert cli.main(["show", str(container), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "scan: 6 x 5 positions" in text
    assert "semiangle_mrad = 20" in text
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert made == ["scan_frames_mean_frame.png", "scan_frames_sum_over_detector.png"]
    frames = io.load(container)
    total = np.zeros(30)
    total[frames.scan.index] = np.unpackbits(np.asarray(frames.signals["frames"].data[:]), axis=-1).sum((1, 2))
    picture = np.asarray(Image.open(tmp_path / "out" / made[1]).convert("L"), float)
    small = picture[picture.shape[0] // 12 :: picture.shape[0] // 6][
        :6, picture.shape[1] // 10 :: picture.shape[1] // 5
    ]
    assert np.corrcoef(small[:, :5].ravel(), total)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "missing.dm4"], "missing.dm4 does not exist"),
        (["live", "missing.mib"], "missing.mib does not exist"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys) -> None:
    assert cli.main(arguments) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_a_file_of_another_kind_is_one_line(tmp_path, capsys) -> None:
    path = tmp_path / "letter.dm4"
    path.write_text("this is not a micrograph")
    assert cli.main(["show", str(path)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "letter.dm4" in text


def test_every_command_is_listed_and_loads() -> None:
    done = subprocess.run([sys.executable, "-m", "esteemcore", "--help"], capture_output=True, text=True, check=True)
    for name in cli.COMMANDS:
        assert name in done.stdout
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0


def test_an_interrupt_while_a_command_is_imported_is_one_line(capsys, monkeypatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert cli.main(["info", "a.esteem"]) == 130
    assert capsys.readouterr().err == "esteem info: interrupted\n"


def test_help_needs_no_science() -> None:
    code = (
        "import sys, json; from esteemcore import cli\n"
        "try: cli.main(['--version'])\nexcept SystemExit: pass\n"
        "print(json.dumps([m for m in ('numpy', 'numba', 'zarr', 'nion') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("high", [3.0, 6.7e6, 7.4e-5, 123456.0])
def test_labels_of_an_axis_have_room(high) -> None:
    font, width = ImageFont.load_default(13), 244
    ticks = pictures._ticks_apart(0.0, high, width, font)
    ends = [(tick / high * width, font.getlength(f"{tick:g}") / 2) for tick in ticks]
    assert len(ticks) >= 3
    for (left, half), (right, other) in itertools.pairwise(ends):
        assert right - other - left - half > 4


def test_gray_pictures_show_values_gaps_and_a_round_scale_bar() -> None:
    data = np.linspace(0, 1, 64).reshape(8, 8)
    data[0, 0] = np.nan
    picture = np.asarray(pictures.gray(data, black_white=(0, 1), size=80))
    assert tuple(picture[0, 0]) == pictures.UNKNOWN
    assert picture[75, 75].tolist() == [255] * 3
    assert picture[5, 75, 0] == pytest.approx(255 * 7 / 63, abs=2)
    with_bar = np.asarray(pictures.gray(np.full((100, 100), 0.5), black_white=(0, 1), size=400, nm_per_pixel=0.07))
    bar = (with_bar == 255).all(axis=2)
    assert bar.sum(axis=1).max() * 0.07 / 4 == pytest.approx(1.0, rel=0.03)
    constant = np.asarray(pictures.gray(np.full((4, 4), 3.0), size=40))
    assert constant.std() == 0
    assert pictures.gray(np.full((4, 4), np.nan), size=40).size == (40, 40)


def test_visit_order_shows_the_first_visit() -> None:
    picture = np.asarray(pictures.visit_order((2, 2), np.array([3, 0, 3, 1]), size=2))
    assert picture[1, 1, 0] == 0
    assert picture[0, 0, 0] == 85
    assert picture[0, 1, 0] == 255
    assert tuple(picture[1, 0]) == pictures.UNKNOWN


def test_curves_have_axes() -> None:
    picture = np.asarray(pictures.curve([0, 1, 2], [1.0, np.nan, 3.0], x_label="eV", y_label="counts"))
    assert (picture == np.array(pictures.LINE)).all(axis=2).sum() > 50
    assert (picture == np.array(pictures.INK)).all(axis=2).sum() > 500


@pytest.mark.parametrize("command", [["demo"], ["show", "FILE"], ["live", "FILE", "--keep", "KEPT"]])
def test_a_folder_that_cannot_be_made(container, tmp_path, capsys, command) -> None:
    (tmp_path / "taken").write_text("a file")
    kept = tmp_path / "kept.esteem"
    words = {"FILE": str(container), "KEPT": str(kept)}
    assert cli.main([*(words.get(word, word) for word in command), "--out", str(tmp_path / "taken")]) == 2
    assert "taken cannot be made" in capsys.readouterr().err
    assert not kept.exists()


@pytest.mark.parametrize(
    "wrong", [["demo", "--rate", "0"], ["demo", "--scan", "1"], ["live", "FILE", "--rate", "-3"],
              ["live", "FILE", "--rate", "nan"], ["live", "FILE", "--chunk", "0"]],
)  # fmt: skip
def test_options_are_checked_before_anything_is_made(container, tmp_path, capsys, monkeypatch, wrong) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert cli.main([str(container) if word == "FILE" else word for word in wrong]) == 2
    assert wrong[-2] in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_the_demo_deletes_nothing_but_its_own_containers(tmp_path, capsys) -> None:
    mine = tmp_path / "zeolite_200.esteem" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert cli.main(["demo", "--out", str(tmp_path), "--scan", "8", "--rate", "1e6", "--core-only"]) == 2
    assert "not a container" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_live_waits_for_a_slow_disk(container, tmp_path, capsys, monkeypatch) -> None:
    append = io.Writer.append

    def slowly(self, chunk) -> None:
        time.sleep(0.02)
        append(self, chunk)

    monkeypatch.setattr(io.Writer, "append", slowly)
    monkeypatch.setattr(live, "WAITING_BYTES", 300)
    runner = functools.partial(stream.LiveRunner, memory_bytes=600)
    monkeypatch.setattr(stream, "LiveRunner", runner)
    kept = tmp_path / "kept.esteem"
    command = ["live", str(container), "--chunk", "2", "--out", str(tmp_path / "out"), "--keep", str(kept)]
    assert cli.main(command) == 0
    assert len(io.load(kept).signals["frames"].data) == 30


def test_live_stops_when_the_disk_fails(container, tmp_path, capsys, monkeypatch) -> None:
    def full(self, chunk) -> None:
        raise StreamError("the disk is full")

    monkeypatch.setattr(io.Writer, "append", full)
    monkeypatch.setattr(live, "WAITING_BYTES", 300)
    command = ["live", str(container), "--chunk", "2", "--out", str(tmp_path / "o"), "--keep", str(tmp_path / "k.zarr")]
    assert cli.main(command) == 2
    assert "the disk is full" in capsys.readouterr().err


def test_live_keeps_one_signal_of_several(tmp_path, capsys) -> None:
    axes = (io.Axis("ky", 8), io.Axis("kx", 8))
    signals = {
        name: io.Signal(
            np.ones((*shape, 8, 8), np.uint8), (io.Axis("y", shape[0]), io.Axis("x", shape[1]), *axes), "dense", (8, 8)
        )
        for name, shape in (("large", (3, 4)), ("small", (2, 2)))
    }
    io.save(tmp_path / "two.esteem", io.Dataset(signals, io.ScanRecord((3, 4))))
    kept = tmp_path / "kept.esteem"
    command = ["live", str(tmp_path / "two.esteem"), "--signal", "small", "--out", str(tmp_path), "--keep", str(kept)]
    assert cli.main(command) == 0
    assert io.load(kept).scan.shape == (2, 2)
