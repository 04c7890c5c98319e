"""Zarr writes and reads our blocks as chunks, knowing only the entry points."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from esteemcore.codec import decode_binary, decode_events
from esteemcore.codec.zarr_codecs import BinaryFramesZarrCodec, EventsZarrCodec
from esteemcore.errors import FormatError, ParameterError

READ = """
import sys, numpy, zarr
array = zarr.open_array(sys.argv[1], mode="r")
numpy.save(sys.argv[2], array[...])
"""


def read_elsewhere(path: Path, tmp_path: Path) -> np.ndarray:
    """Return an array as another process reads it, which imports zarr only."""
    out = tmp_path / "read.npy"
    subprocess.run([sys.executable, "-c", READ, str(path), str(out)], check=True, cwd=tmp_path)
    return np.load(out)


@pytest.fixture
def installed() -> None:
    names = {entry.name for entry in importlib.metadata.entry_points(group="zarr.codecs")}
    if not {"esteem.events", "esteem.binary-frames"} <= names:
        pytest.skip("the installed metadata are older than the entry points; install again: pip install -e .")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", ">u4", "uint64"])
def test_spectrum_images(tmp_path, rng, dtype) -> None:
    series = rng.poisson(0.03, (3, 20, 33, 64)).astype(dtype)
    series[1] = 0
    array = zarr.create_array(
        tmp_path / "si.zarr",
        shape=series.shape,
        chunks=(1, 16, 16, 64),
        dtype=dtype,
        serializer=EventsZarrCodec(),
        compressors=None,
        fill_value=0,
    )
    array[...] = series
    np.testing.assert_array_equal(read_elsewhere(tmp_path / "si.zarr", tmp_path), series)
    chunk = (tmp_path / "si.zarr" / "c" / "2" / "0" / "1" / "0").read_bytes()
    sparse = decode_events(chunk)
    assert sparse.shape == (1, 16, 16, 64)
    np.testing.assert_array_equal(sparse.to_dense(), series[2:, :16, 16:32])
    assert not (tmp_path / "si.zarr" / "c" / "1").exists()


@pytest.mark.usefixtures("installed")
def test_packed_frames(tmp_path, rng) -> None:
    packed = np.packbits(rng.random((70, 24, 32)) < 0.05, axis=-1, bitorder="little")
    array = zarr.create_array(
        tmp_path / "frames.zarr",
        shape=packed.shape,
        chunks=(32, 24, 4),
        dtype="uint8",
        serializer=BinaryFramesZarrCodec(),
        compressors=None,
        fill_value=0,
    )
    array[...] = packed
    np.testing.assert_array_equal(read_elsewhere(tmp_path / "frames.zarr", tmp_path), packed)
    chunk = (tmp_path / "frames.zarr" / "c" / "1" / "0" / "0").read_bytes()
    np.testing.assert_array_equal(decode_binary(chunk), packed[32:64])


@pytest.mark.parametrize("serializer", [EventsZarrCodec(), BinaryFramesZarrCodec()])
def test_metadata_round_trip(serializer) -> None:
    assert type(serializer).from_dict(serializer.to_dict()) == serializer
    with pytest.raises(FormatError, match="no configuration"):
        type(serializer).from_dict({"name": serializer.name, "configuration": {"level": 3}})


@pytest.mark.parametrize("serializer", [EventsZarrCodec(), BinaryFramesZarrCodec()])
def test_arrays_that_are_no_counts_are_refused_when_they_are_made(tmp_path, serializer) -> None:
    with pytest.raises(ParameterError, match="the array has 3 axes and dtype float32"):
        zarr.create_array(
            tmp_path / "x.zarr", shape=(4, 4, 4), chunks=(4, 4, 4), dtype="f4", serializer=serializer, compressors=None
        )


def test_a_damaged_chunk_is_refused(tmp_path, rng) -> None:
    array = zarr.create_array(
        tmp_path / "si.zarr", shape=(1, 8, 8, 16), chunks=(1, 8, 8, 16), dtype="u2", serializer=EventsZarrCodec(),
        compressors=None, fill_value=0,
    )  # fmt: skip
    array[...] = rng.poisson(0.2, array.shape)
    chunk = tmp_path / "si.zarr" / "c" / "0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(FormatError, match="cut off"):
        array[...]
