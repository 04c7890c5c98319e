"""``esteem classify``: a scan into a container and a report, in any order of the frames, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from esteemcore import cli, events, io
from esteemcore.cli.beam import place_of
from esteemcore.cli.frames4d import ScanFrames

SHAPE = (12, 14)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Two crystals, left and right, that differ by a turn."""
    y, x = np.mgrid[:48, :48] - 24.0

    def pattern(turn: float) -> np.ndarray:
        spots = [np.hypot(y - 14 * np.sin(a), x - 14 * np.cos(a)) < 3 for a in turn + np.pi / 2 * np.arange(4)]
        return 0.02 + 4 * (np.hypot(y, x) < 3) + np.sum(spots, axis=0)

    rates = np.array([[pattern(0.2 + 0.5 * (j > 5)) for j in range(SHAPE[1])] for i in range(SHAPE[0])])
    return np.random.default_rng(0).poisson(rates).astype(np.uint8)


def axes(*sizes: int) -> tuple[io.Axis, ...]:
    return tuple(io.Axis(name, n) for name, n in zip(("y", "x", "ky", "kx"), sizes, strict=True))


@pytest.fixture
def container(tmp_path, frames):
    signal = io.Signal(frames, axes(*frames.shape), frame_shape=(48, 48))
    io.save(tmp_path / "scan.esteem", io.Dataset({"frames": signal}))
    return tmp_path / "scan.esteem"


def test_a_scan_becomes_a_container_and_a_report(container, tmp_path, capsys) -> None:
    out = tmp_path / "classes.esteem"
    assert cli.main(["classify", str(container), str(out), "--radius-px", "3"]) == 0
    text = capsys.readouterr().out
    assert "2 classes: " in text
    assert re.search(r"class 0: crystalline, 96 positions", text)
    assert float(re.search(r"agree to ([\d.]+)", text)[1]) > 0.9
    stored = io.load(out)
    labels = np.asarray(stored.signals["labels"].data)
    assert (labels == np.where(np.arange(14) > 5, 0, 1)).all()
    assert stored.signals["patterns"].data.shape == (2, 48, 48)
    np.testing.assert_allclose(np.asarray(stored.signals["fractions"].data).sum(axis=0), 1, atol=1e-5)
    assert stored.metadata["classes"]["kinds"] == ["crystalline", "crystalline"]
    page = (tmp_path / "classes.html").read_text(encoding="utf-8")
    for words in ("Classes", "Confidence", "By Bragg disks alone", "Agreement", "Class 1", "Held-out electrons"):
        assert f"<b>{words}</b>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # self-contained


def test_frames_in_any_order_are_put_in_their_place(frames, rng) -> None:
    order = rng.permutation(168)
    shuffled = np.concatenate([frames.reshape(-1, 48, 48)[order[3:]], frames.reshape(-1, 48, 48)[order[5:6]]])
    visits = np.append(order[3:], order[5])
    expected = frames.reshape(-1, 48, 48).astype(int)
    expected[order[:3]] = 0  # never visited
    expected[order[5]] *= 2  # visited twice
    axis = (io.Axis("frame", len(visits)), io.Axis("ky", 48), io.Axis("kx", 48))
    scan = io.ScanRecord(SHAPE, index=visits)
    dense = io.Dataset({"frames": io.Signal(shuffled, axis, frame_shape=(48, 48))}, scan=scan)
    found = ScanFrames(dense)
    assert found.shape == (*SHAPE, 48, 48)
    np.testing.assert_array_equal(found[2:7, 3:9], expected.reshape(*SHAPE, 48, 48)[2:7, 3:9])


def test_packed_frames_are_unpacked(frames) -> None:
    bits = (frames > 0).astype(np.uint8)
    signal = io.Signal(events.pack_bits(bits), axes(*frames.shape), "packed", (48, 48))
    np.testing.assert_array_equal(ScanFrames(io.Dataset({"bits": signal}))[:3, 2:5], bits[:3, 2:5])


def test_the_number_of_classes_and_the_seed_are_passed_on(container, tmp_path, capsys) -> None:
    out = tmp_path / "one.esteem"
    options = ["--radius-px", "3", "--classes", "1", "--no-disks", "--seed", "5", "--binning", "4"]
    assert cli.main(["classify", str(container), str(out), *options]) == 0
    assert "1 class: 1 asked for" in capsys.readouterr().out
    provenance = io.load(out).metadata["classes"]["provenance"]
    assert provenance["seed"] == 5
    assert provenance["parameters"] == {
        "radius_px": 3.0,
        "n_classes": 1,
        "binning": 4,
        "ellipse": None,
        "second_way": False,
        "mask": None,
        "center": None,
        "disks": None,
    }


def test_the_radius_is_that_of_the_beam_if_none_is_given(container, tmp_path, capsys) -> None:
    out = tmp_path / "classes.esteem"
    assert cli.main(["classify", str(container), str(out), "--classes", "1", "--no-disks"]) == 0
    told = float(re.search(r"radius of a disk: ([\d.]+) px", capsys.readouterr().out)[1])
    assert told == pytest.approx(3, abs=0.5)
    used = io.load(out).metadata["classes"]["provenance"]["parameters"]["radius_px"]
    assert used == pytest.approx(told, abs=0.005)


def test_a_beam_too_large_for_disks_is_told(tmp_path, rng, capsys) -> None:
    y, x = np.mgrid[:48, :48] - 24
    frames = rng.poisson(0.1 + 4 * (np.hypot(y, x) < 13), (4, 4, 48, 48)).astype(np.uint8)
    io.save(tmp_path / "wide.esteem", io.Dataset({"frames": io.Signal(frames, axes(4, 4, 48, 48), "dense", (48, 48))}))
    assert cli.main(["classify", str(tmp_path / "wide.esteem"), str(tmp_path / "classes.esteem")]) == 2
    told = re.search(r"a radius of ([\d.]+) px, too large for 48 x 48 .* with --radius-px", capsys.readouterr().err)
    assert float(told[1]) == pytest.approx(13, abs=0.5)


@pytest.mark.parametrize("center", [["Find"], ["24", "24"]])
def test_the_beam_may_lie_behind_a_stop(frames, tmp_path, capsys, center) -> None:
    y, x = np.mgrid[:48, :48] - 24
    signal = io.Signal(np.where(np.hypot(y, x) < 5, 0, frames), axes(*frames.shape), frame_shape=(48, 48))
    io.save(tmp_path / "stopped.esteem", io.Dataset({"frames": signal}))
    out = tmp_path / "classes.esteem"
    assert (
        cli.main(["classify", str(tmp_path / "stopped.esteem"), str(out), "--radius-px", "3", "--center", *center]) == 0
    )
    text = capsys.readouterr().out
    row, column = re.search(r"direct beam: on average at row ([\d.]+), column ([\d.]+) px", text).groups()
    assert (float(row), float(column)) == pytest.approx((24, 24), abs=0.1)
    assert "behind a stop: its place " + ("was given" if len(center) == 2 else "is the centre of symmetry") in text
    stored = io.load(out)
    assert (np.asarray(stored.signals["labels"].data) == np.where(np.arange(14) > 5, 0, 1)).all()
    known = stored.metadata["classes"]
    assert known["provenance"]["parameters"]["center"] == ("friedel" if center == ["Find"] else [24.0, 24.0])
    assert known["beam_px"] == pytest.approx([24, 24], abs=0.1)
    assert known["descan_px"] == pytest.approx(0, abs=0.3)
    assert stored.signals["patterns"].axes[1].offset == pytest.approx(-known["beam_px"][0])
    page = (tmp_path / "classes.html").read_text(encoding="utf-8")
    assert ("leaves its plane" in page) == (center == ["Find"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--center", "24,24"], "give --radius-px, the semi-angle of the probe"),
        (["--radius-px", "3", "--center", "24"], "'24' is not a place on the detector; expected row and column in px"),
        (["--radius-px", "3", "--center", "24", "-1"], "'24 -1' is not a place on the detector"),
        (["--radius-px", "3", "--center", "nan,1"], "'nan,1' is not a place on the detector"),
        (["--radius-px", "3", "--center", "24,90"], "--center reaches from"),
        (["--radius-px", "40"], "--radius-px is 40"),
        (["--radius-px", "3", "--signal", "haadf"], "no signal 'haadf'"),
        (["--radius-px", "3", "--classes", "999"], "only 168 positions"),
    ],
)
def test_wrong_options_are_errors_in_words(container, tmp_path, capsys, options, words) -> None:
    assert cli.main(["classify", str(container), str(tmp_path / "classes.esteem"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "classes.esteem").exists()


def test_a_place_is_typed_in_several_ways() -> None:
    assert {place_of(words) for words in ("24 25.5", "24,25.5", " 24, 25.5 ")} == {(24.0, 25.5)}
    assert {place_of(words) for words in ("friedel", "FIND", " Find  it ")} == {"friedel"}
    assert place_of(" ") is None


@pytest.mark.parametrize("center", [["FRIEDEL"], ["24,24"], ["24", "24"]])
def test_what_follows_the_place_of_the_beam_is_told_where_it_belongs(capsys, center) -> None:
    with pytest.raises(SystemExit):
        cli.main(["classify", "--center", *center, "scan.esteem", "out.esteem"])
    assert f"--center {' '.join(center)} takes nothing more; put scan.esteem out.esteem" in capsys.readouterr().err


def test_nothing_is_replaced_unasked(container, tmp_path, capsys) -> None:
    (tmp_path / "classes.html").write_text("mine")
    assert cli.main(["classify", str(container), str(tmp_path / "classes.esteem"), "--radius-px", "3"]) == 2
    assert "classes.html exists already" in capsys.readouterr().err
    assert cli.main(["classify", str(container), str(container), "--radius-px", "3", "--overwrite"]) == 2
    assert "would take the place of the frames" in capsys.readouterr().err
    assert io.load(container).signals["frames"].data.shape == (*SHAPE, 48, 48)
