"""numcodecs, and what speaks it, finds our codecs by their ids and reads our blocks."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
import zarr

from esteemcore import codec, io
from esteemcore.codec.numcodecs_codecs import EventsNumcodec, LosslessNumcodec
from esteemcore.errors import FormatError, ParameterError
from esteemcore.events import SparseSI

CONFIGS = {
    "esteem.binary-frames": {},
    "esteem.eels-blocks": {"blocks": [[0, 64, 16]], "n_components": 3},
    "esteem.eels-bounded": {"bound_sigma": 0.25, "gain": 2.0, "readout_sigma": 1.0},
    "esteem.events": {},
    "esteem.lossless": {"level": 5},
}
NAMES = sorted(CONFIGS)


@pytest.fixture(autouse=True)
def installed() -> None:
    names = {entry.name for entry in importlib.metadata.entry_points(group="numcodecs.codecs")}
    if not set(NAMES) <= names:
        pytest.skip("the installed metadata are older than the entry points; install again: pip install -e .")


def made_for(name, rng):
    """Return an array that a codec is made for."""
    if name == "esteem.binary-frames":
        return np.packbits(rng.random((40, 24, 32)) < 0.05, axis=-1, bitorder="little")
    if name == "esteem.events":
        return rng.poisson(0.03, (2, 7, 9, 64)).astype("u2")
    return rng.poisson(300, (2, 7, 9, 64)).astype("f4")


def test_every_codec_has_a_face() -> None:
    assert set(codec.CODECS) == set(CONFIGS)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_those_of_our_codec(rng, name) -> None:
    array, ours = made_for(name, rng), codec.by_name(name, **CONFIGS[name])
    found = numcodecs.get_codec({"id": name, **CONFIGS[name]})
    block = found.encode(array)
    assert block == ours.encode(array)
    expected = ours.decode(block)
    expected = expected.to_dense() if name == "esteem.events" else expected
    for data in (block, bytearray(block), np.frombuffer(block, "u1")):
        back = found.decode(data)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, expected)
    out = np.full_like(array, 7)
    found.decode(block, out=out)
    np.testing.assert_array_equal(out, expected)
    if name not in ("esteem.eels-blocks", "esteem.eels-bounded"):
        np.testing.assert_array_equal(expected, array)


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_makes_the_codec_again(name) -> None:
    found = numcodecs.get_codec({"id": name, **CONFIGS[name]})
    config = json.loads(json.dumps(found.get_config()))
    assert config.items() >= {"id": name, **CONFIGS[name]}.items()
    assert numcodecs.get_codec(config) == found == pickle.loads(pickle.dumps(found))
    assert eval(repr(found), {type(found).__name__: type(found)}) == found  # as numcodecs prints its own
    if CONFIGS[name]:
        assert numcodecs.get_codec({"id": name}) != found or name == "esteem.lossless"
    with pytest.raises(ParameterError, match="cannot be used"):
        numcodecs.get_codec({"id": name, "taste": "sweet"})


READ = """
import sys, numpy, zarr
numpy.save(sys.argv[2], zarr.open_array(sys.argv[1], mode="r", zarr_format=2)[...])
"""


def test_zarr_2_reads_it_in_a_process_that_knows_nothing_of_us(tmp_path, rng) -> None:
    series = rng.poisson(0.03, (3, 10, 17, 32)).astype("i4")
    series[1] = 0
    array = zarr.create_array(
        tmp_path / "si", shape=series.shape, chunks=(1, 8, 8, 32), dtype="i4", zarr_format=2,
        compressors=EventsNumcodec(), filters=None, fill_value=0,
    )  # fmt: skip
    array[...] = series
    assert json.loads((tmp_path / "si" / ".zarray").read_text())["compressor"] == {"id": "esteem.events"}
    subprocess.run([sys.executable, "-c", READ, tmp_path / "si", tmp_path / "read.npy"], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), series)


def test_blocks_of_a_container_are_chunks_of_zarr_2(tmp_path, rng) -> None:
    """What lists references to the chunks of other files needs no copy of ours."""
    counts = rng.poisson(0.02, (2, 16, 16, 64)).astype("u2")
    axes = tuple(io.Axis(name, size) for name, size in zip(("frame", "y", "x", "energy"), counts.shape, strict=True))
    io.save(tmp_path / "eds.esteem", io.Dataset({"eds": io.Signal(counts, axes)}), codec={"eds": "esteem.events"})
    folder = tmp_path / "eds.esteem" / "signals" / "eds"
    about = json.loads((folder / "zarr.json").read_text())
    array = zarr.create_array(
        tmp_path / "other", shape=counts.shape, chunks=about["chunk_grid"]["configuration"]["chunk_shape"], dtype="u2",
        zarr_format=2, compressors=EventsNumcodec(), filters=None, fill_value=0,
    )  # fmt: skip
    for block in folder.glob("c.*"):
        (tmp_path / "other" / block.name.removeprefix("c.")).write_bytes(block.read_bytes())
    np.testing.assert_array_equal(array[...], counts)


@pytest.mark.parametrize("name", NAMES)
def test_values_that_would_come_back_as_others_are_refused(rng, name) -> None:
    found, array = numcodecs.get_codec({"id": name, **CONFIGS[name]}), made_for(name, rng)
    with pytest.raises(ParameterError, match=r"Fortran's order; esteem\..* takes order='C'"):
        found.encode(np.asfortranarray(array))
    if array.dtype.itemsize > 1:
        with pytest.raises(ParameterError, match="little-endian"):
            found.encode(array.astype(array.dtype.newbyteorder(">")))


@pytest.mark.parametrize("name", NAMES)
def test_damaged_blocks_and_wrong_sizes_are_refused(rng, name) -> None:
    found, array = numcodecs.get_codec({"id": name, **CONFIGS[name]}), made_for(name, rng)
    block = found.encode(array)
    with pytest.raises(FormatError, match="cut off"):
        found.decode(block[:-3])
    other = LosslessNumcodec() if name != "esteem.lossless" else EventsNumcodec()
    with pytest.raises(FormatError, match="made by the codec"):
        other.decode(block)
    for size in (array.nbytes - 1, array.nbytes + 1):
        with pytest.raises(FormatError, match=f"{array.nbytes} bytes; expected {size}"):
            found.decode(block, out=np.zeros(size, "u1"))


def test_a_small_block_of_a_huge_image_is_not_made_dense() -> None:
    nothing = np.zeros(0, "u4")
    empty = SparseSI((64, 64, 1 << 20), np.dtype("u2"), np.zeros(64 * 64 + 1, "i8"), nothing, nothing.astype("u2"))
    block = codec.encode_events(empty)
    assert len(block) < 1000
    with pytest.raises(FormatError, match="expected 4294967296"):
        EventsNumcodec().decode(block)
