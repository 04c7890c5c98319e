"""Results of a live run are recorded so that they can be made again, and every change is found."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from esteemcore import cli, fourd, io, stream
from esteemcore._core import provenance
from esteemcore.cli import reproduce
from esteemcore.events import pack_bits


@pytest.fixture
def recorded(tmp_path, rng, capsys):
    """Raw one-bit frames in random order, and the results of esteem live."""
    spec = stream.Spec((6, 5), (32, 32), np.dtype("u1"), packed=True)
    geometry = fourd.Geometry(
        scan_step_nm=0.05, beam_energy_kev=200, semiangle_mrad=20, pixel_mrad=2.5, center=(15.5, 16.0),
        aberrations={"C10": -5.0, "C12": (2.0, 0.3)},
    )  # fmt: skip
    with io.Writer(tmp_path / "raw.esteem", spec, geometry=geometry) as writer:
        writer.append(stream.Chunk(rng.permutation(30), pack_bits(rng.random((30, 32, 32)) < 0.3)))
    command = ["live", str(tmp_path / "raw.esteem"), "--out", str(tmp_path / "out"), "--bins", "64", "--chunk", "7"]
    assert cli.main([*command, "--save", str(tmp_path / "results.esteem")]) == 0
    assert "to be made again by: esteem reproduce" in capsys.readouterr().out
    return tmp_path


NAMES = ["mean_frame", "variance_frame", "frame_sum", "bf", "adf", "com", "icom", "ssb"]


def table(capsys) -> dict[str, str]:
    """Return the verdicts of the table that was printed, by image."""
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {row[0]: row[2] for row in cells if len(row) > 2 and row[0] != "image"}


def test_the_same_frames_give_the_same_images(recorded, capsys) -> None:
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 0
    assert table(capsys) == dict.fromkeys(NAMES, "same")
    results = io.load(recorded / "results.esteem")
    assert results.signals["ssb"].metadata["provenance"]["parameters"]["bins"] > 0
    assert results.metadata["chain"]["raw"] == "raw.esteem"
    assert results.signals["ssb"].axes[0].scale == 0.05


def test_both_files_may_move_together(recorded, tmp_path, capsys) -> None:
    shutil.copytree(recorded, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("elsewhere"))
    shutil.rmtree(recorded / "raw.esteem")
    assert cli.main(["reproduce", str(tmp_path / "elsewhere" / "results.esteem")]) == 0
    capsys.readouterr()
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 2
    assert "say where they are with --raw" in capsys.readouterr().err
    raw = str(tmp_path / "elsewhere" / "raw.esteem")
    assert cli.main(["reproduce", str(recorded / "results.esteem"), "--raw", raw]) == 0


def test_other_frames_are_found(recorded, capsys) -> None:
    raw = io.load(recorded / "raw.esteem")
    signal = raw.signals["frames"]
    data = np.asarray(signal.data[...]).copy()
    data[3, 16, 2] ^= 1  # one electron in the bright field
    changed = dataclasses.replace(raw, signals={"frames": dataclasses.replace(signal, data=data)})
    io.save(recorded / "raw.esteem", changed, overwrite=True)
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 1
    assert table(capsys) == dict.fromkeys(NAMES, "different")


def test_other_calibrations_are_found(recorded, capsys) -> None:
    results = io.load(recorded / "results.esteem")
    chain = {**results.metadata["chain"], "bins": 32}
    io.save(
        recorded / "results.esteem",
        dataclasses.replace(results, metadata={**results.metadata, "chain": chain}),
        overwrite=True,
    )
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 1
    assert table(capsys) == {name: "different" if name == "ssb" else "same" for name in NAMES}


def test_changed_images_are_found(recorded, capsys) -> None:
    results = io.load(recorded / "results.esteem")
    forged = np.asarray(results.signals["ssb"].data[...]) + np.float32(1e-6)
    honest = results.signals["bf"]
    signals = {
        **results.signals,
        "ssb": dataclasses.replace(results.signals["ssb"], data=forged),
        "bf": dataclasses.replace(
            honest, data=forged, metadata={**honest.metadata, "digest": provenance.digest(forged)}
        ),
        "mine": io.Signal(forged, honest.axes),
    }
    io.save(recorded / "results.esteem", dataclasses.replace(results, signals=signals), overwrite=True)
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 1
    text = capsys.readouterr().out
    assert "the stored values are not those that were recorded" in text
    assert "by at most" in text
    assert "nothing is recorded that makes it again" in text


def test_without_calibrations_only_statistics(tmp_path, rng, capsys) -> None:
    with io.Writer(tmp_path / "raw.esteem", stream.Spec((2, 3), (16, 16), np.dtype("u2"))) as writer:
        writer.append(stream.Chunk(np.arange(6), rng.poisson(2, (6, 16, 16)).astype(np.uint16)))
    save = ["--out", str(tmp_path / "out"), "--save", str(tmp_path / "r.esteem")]
    assert cli.main(["live", str(tmp_path / "raw.esteem"), *save]) == 0
    capsys.readouterr()
    assert cli.main(["reproduce", str(tmp_path / "r.esteem")]) == 0
    assert table(capsys) == dict.fromkeys(NAMES[:3], "same")
    assert cli.main(["live", str(tmp_path / "raw.esteem"), *save]) == 2
    assert "is there already; give --save another name" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [{"function": "other"}, {"geometry": {"scan_step_nm": -1}}, {"bins": "many"}])
def test_a_damaged_record(recorded, capsys, damage) -> None:
    results = io.load(recorded / "results.esteem")
    chain = {**results.metadata["chain"], **damage}
    io.save(
        recorded / "results.esteem",
        dataclasses.replace(results, metadata={**results.metadata, "chain": chain}),
        overwrite=True,
    )
    assert cli.main(["reproduce", str(recorded / "results.esteem")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def row(stored: np.ndarray, again: np.ndarray) -> tuple[str, str]:
    """Return verdict and reason of an honest record whose image is made again as another one."""
    made = {"function": "f", "parameters": {}, "seed": None, "input_digest": "0"}
    axes = tuple(io.Axis(f"axis {n}", size) for n, size in enumerate(stored.shape))
    signal = io.Signal(stored, axes, metadata={"provenance": made, "digest": provenance.digest(stored)})
    _, _, verdict, why = reproduce._row("image", signal, {"image": (again, "", made)})
    return verdict, why


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i8", "f4", "f8", "c8", "?"])
def test_every_dtype_is_compared_without_wrapping_round(dtype) -> None:
    stored = np.array([[0, 1], [1, 0]], dtype)
    assert row(stored, stored.copy()) == ("same", "")
    again = np.array([[1, 0], [1, 0]], dtype)  # 0 - 1 is 255 in uint8
    assert row(stored, again) == ("different", "2 of 4 values, by at most 1, values up to 1")


def test_the_largest_whole_numbers() -> None:
    stored = np.array([2**63 + 1, 5], np.uint64)
    again = np.array([2**63, 5], np.uint64)  # the same in float64
    assert row(stored, again) == ("different", "1 of 2 values, by at most 1, values up to 9.22e+18")
    lowest = np.array([-(2**63), 3], np.int64)  # has no absolute value in int64
    assert row(lowest, lowest + 2) == ("different", "2 of 2 values, by at most 2, values up to 9.22e+18")


@pytest.mark.parametrize("dtype", ["u8", "f4", "c16", "?"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_empty_images(shape, dtype) -> None:
    empty = np.empty(shape, dtype)
    assert row(empty, empty.copy()) == ("same", "")
    assert row(empty, np.zeros((2, *shape[1:]), dtype))[1] == f"shape {(2, *shape[1:])} instead of {shape}"
    assert row(empty, np.empty(shape, "i2"))[1] == f"dtype int16 instead of {np.dtype(dtype)}"


def test_what_is_no_number() -> None:
    nan, inf = np.nan, np.inf
    known = np.array([nan, 1.0, inf, 3.0], np.float32)
    assert row(known, known.copy()) == ("same", "")
    one = np.array([nan, 1.5, inf, 3.0], np.float32)
    assert row(known, one)[1] == "1 of 4 values, by at most 0.5, values up to 3"
    lost = np.array([nan, nan, inf, 3.5], np.float32)
    why = "2 of 4 values, by at most 0.5, values up to 3; 1 are NaN or infinite in one of them only"
    assert row(known, lost) == ("different", why)
    signs = np.array([nan, 1.0, -inf, 3.0], np.float32)
    assert row(known, signs)[1] == "1 of 4 values, each NaN or infinite in one of them only"
    nothing = np.full(4, nan, np.float32)
    assert row(nothing, known)[1] == "3 of 4 values, each NaN or infinite in one of them only"
    assert row(nothing, nothing.copy())[0] == "same"
    zeros = np.zeros(2, np.float32)
    assert row(zeros, -zeros) == ("different", "by the sign of zeros or the bits of NaN only")


def test_another_dtype_is_told() -> None:
    stored = np.arange(4, dtype=np.uint32)
    assert row(stored, stored.astype(np.uint64)) == ("different", "dtype uint64 instead of uint32")
    assert row(stored, stored.astype(">u4")) == ("same", "")
