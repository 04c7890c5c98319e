from __future__ import annotations

import json

import numpy as np
import pytest

from esteemcore import io, stream
from esteemcore.errors import FormatError, ParameterError

CREDITS = io.Credits(
    title="Graphene at 60 kV",
    authors=[
        io.Author("Carberry, Josiah", "https://orcid.org/0000-0002-1825-0097", "Brown University", "operator"),
        {"name": "B. C.", "orcid": "0000-0001-5109-3700"},
        "D. E.",
    ],
    license="CC-BY-4.0",
    instrument="a microscope",
    sample="graphene on a grid",
    identifiers=["10.5281/zenodo.123456"],
    keywords=["EELS", "graphene"],
    funding=["ERC 123456"],
)


def image():
    return io.Signal(np.ones((4, 5), np.float32), (io.Axis("y", 4), io.Axis("x", 5)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"title": 5}, "expected text"),
        ({"title": " "}, "expected text"),
        ({"authors": "A. B."}, r"expected a list, e\.g\. \['A\. B\.'\]"),
        ({"authors": [{"nam": "x"}]}, "there are name, orcid"),
        ({"authors": [{"orcid": "0000-0002-1825-0097"}]}, "name"),
        ({"authors": [io.Author]}, "an author"),
        ({"license": "do what you like"}, "SPDX"),
        ({"keywords": "EELS"}, "expected a list"),
        ({"keywords": [3]}, "expected text"),
        ({"titel": "x"}, "there are title"),
    ],
)
def test_credits_that_cannot_be_right(tmp_path, entries, message):
    with pytest.raises(ParameterError, match=message):
        io.Credits.of(entries)
    with pytest.raises(ParameterError):
        io.save(tmp_path / "a.esteem", io.Dataset({"adf": image()}, metadata={"credits": entries}))
    with pytest.raises(ParameterError):
        io.SeriesWriter(tmp_path / "b.esteem", {"adf": io.SeriesSignal((4, 5), "f4")}, metadata={"credits": entries})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0098", "0000-0002-1825-009", "1825", 7, "0000-0002-1825-009X"])
def test_mistyped_orcids(orcid):
    with pytest.raises(ParameterError, match="ORCID"):
        io.Author("A", orcid)


def test_an_orcid_that_ends_in_x():
    assert io.Author("A", "0000-0002-9079-593x").orcid == "0000-0002-9079-593X"


def test_credits_travel_with_the_data(tmp_path):
    io.save(tmp_path / "a.esteem", io.Dataset({"adf": image()}, metadata={"credits": CREDITS}))
    assert io.load(tmp_path / "a.esteem").credits == CREDITS
    assert io.info(tmp_path / "a.esteem").credits == CREDITS
    assert io.info(io.pack(tmp_path / "a.esteem")).credits == CREDITS
    lines = io.info(tmp_path / "a.esteem").describe()
    assert "title: Graphene at 60 kV" in lines
    assert any("ORCID 0000-0002-1825-0097" in line for line in lines)
    assert "license: CC-BY-4.0" in io.load(tmp_path / "a.esteem").describe()
    stored = json.loads((tmp_path / "a.esteem" / "zarr.json").read_text())["attributes"]["esteem"]["metadata"][
        "credits"
    ]
    assert stored["authors"][2] == {"name": "D. E."}
    assert "related" not in stored


def test_credits_can_be_set_later(tmp_path):
    path = tmp_path / "a.esteem"
    with io.Writer(path, stream.Spec((2, 2), (4, 4), np.uint8), metadata={"specimen": {"name": "x"}}) as writer:
        writer.append(stream.Chunk([1], np.ones((1, 4, 4), np.uint8)))
        with pytest.raises(FormatError, match="not closed"):
            io.set_credits(path, CREDITS)
    io.set_credits(path, CREDITS)
    io.set_credits(path, {"title": "better"})
    dataset = io.load(path)
    assert dataset.credits == io.Credits("better")
    assert dataset.metadata["specimen"] == {"name": "x"}
    assert dataset.notes == ()
    with pytest.raises(FormatError, match="packed afterwards"):
        io.set_credits(io.pack(path), CREDITS)
    with pytest.raises(ParameterError):
        io.set_credits(path, {"title": 3})


def test_damaged_credits_are_a_note_not_the_end(tmp_path):
    io.save(tmp_path / "a.esteem", io.Dataset({"adf": image()}, metadata={"credits": CREDITS}))
    path = tmp_path / "a.esteem" / "zarr.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["attributes"]["esteem"]["metadata"]["credits"] = {"authors": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert io.info(tmp_path / "a.esteem").credits is None
    assert "credits cannot be read" in io.info(tmp_path / "a.esteem").notes[0]
    assert any("credits" in line for line in io.load(tmp_path / "a.esteem").describe())


def test_info_reads_no_data(tmp_path, rng):
    frames = rng.integers(0, 9, (50, 6, 7)).astype(np.uint16)
    scan = io.ScanRecord((5, 10), dwell_s=1e-3)
    writer = io.Writer(tmp_path / "a.esteem", stream.Spec((5, 10), (6, 7), np.uint16), scan=scan, block=16)
    writer.append(stream.Chunk(np.arange(50), frames))
    summary = io.info(tmp_path / "a.esteem")
    assert (summary.frames, summary.closed, summary.version) == (48, False, 1)
    assert "not closed" in summary.notes[0]
    writer.close()
    for file in (tmp_path / "a.esteem").rglob("c.*"):
        file.write_bytes(bytes(len(file.read_bytes())))
    summary = io.info(str(tmp_path / "a.esteem"))
    (signal,) = summary.signals
    assert (summary.frames, summary.closed, summary.scan_shape) == (50, True, (5, 10))
    assert (signal.name, signal.kind, signal.shape, signal.dtype) == ("frames", "dense", (50, 6, 7), "uint16")
    assert (signal.codec, signal.lossy, signal.chunks) == ("zstd", False, (16, 6, 7))
    assert signal.raw_bytes == frames.nbytes == summary.raw_bytes
    folder = tmp_path / "a.esteem" / "signals" / "frames"
    assert signal.stored_bytes == sum(f.stat().st_size for f in folder.iterdir())
    assert signal.ratio == signal.raw_bytes / signal.stored_bytes
    assert summary.stored_bytes == sum(f.stat().st_size for f in (tmp_path / "a.esteem").rglob("*") if f.is_file())
    assert summary.describe()[0].endswith("version 1)")
    for wrong in (tmp_path / "none.esteem", tmp_path, tmp_path / "a.esteem" / "zarr.json"):
        with pytest.raises(FormatError):
            io.info(wrong)
