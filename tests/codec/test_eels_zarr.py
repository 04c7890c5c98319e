"""Plain Zarr reads and writes arrays through the codecs of spectra."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
import zarr.registry
from zarr.storage import MemoryStore

from esteemcore.codec import frame
from esteemcore.codec.eels import decode_eels, encode_eels
from esteemcore.codec.lossless import encode_lossless
from esteemcore.codec.zarr_eels import EelsBlocksZarrCodec, EelsBoundedZarrCodec, LosslessZarrCodec
from esteemcore.errors import FormatError, ParameterError
from tests.codec.make_eels_golden import GOLDEN, spectra


@pytest.fixture(autouse=True)
def registered():
    for codec in (EelsBlocksZarrCodec, EelsBoundedZarrCodec, LosslessZarrCodec):
        zarr.registry.register_codec(codec.name, codec)


def make(data, serializer, store):
    array = zarr.create_array(
        store, shape=data.shape, dtype=data.dtype, chunks=(1, 5, 4, data.shape[-1]), serializer=serializer,
        compressors=None, filters=None,
    )  # fmt: skip
    array[...] = data
    return zarr.open_array(store, mode="r")


def test_bounded_spectra(rng) -> None:
    data = rng.poisson(40, (2, 7, 6, 50)).astype(np.float32)
    store = MemoryStore()
    back = make(data, EelsBoundedZarrCodec(0.5, 1.0, 2.0), store)
    assert (np.abs(back[...] - data) <= 0.5 * np.sqrt(data + 4)).all()
    assert back.metadata.to_dict()["codecs"][0] == {
        "name": "esteem.eels-bounded", "configuration": {"bound_sigma": 0.5, "gain": 1.0, "readout_sigma": 2.0}
    }  # fmt: skip
    chunk = store._store_dict["c/0/0/0/0"].to_bytes()
    np.testing.assert_array_equal(decode_eels(chunk), back[:1, :5, :4])


def test_coarse_blocks_are_those_of_the_codec_chunk_by_chunk(rng) -> None:
    data = rng.poisson(np.linspace(900, 100, 50), (2, 7, 6, 50)).astype(np.float32)
    serializer = EelsBlocksZarrCodec([(0, 20, 4), (30, 50, 8)], n_components=3, gain=2.0)
    store = MemoryStore()
    back = make(data, serializer, store)[...]
    np.testing.assert_array_equal(back[..., 20:30], data[..., 20:30])  # whole counts below 10,000 have four figures
    alone = decode_eels(encode_eels(data[:1, :5, :4], blocks=[(0, 20, 4), (30, 50, 8)], n_components=3, gain=2.0))
    np.testing.assert_array_equal(back[:1, :5, :4], alone)
    again = type(serializer).from_dict(serializer.to_dict())
    assert (again, hash(again)) == (serializer, hash(serializer))
    head = frame.unpack(store._store_dict["c/0/0/0/0"].to_bytes())
    assert (head.codec, head.config["n_components"]) == ("esteem.eels-blocks", 3)
    chosen = make(data, EelsBlocksZarrCodec(), MemoryStore())[...]  # each chunk chooses its blocks
    assert np.abs(chosen - data).max() < 8 * np.sqrt(data.max())


def test_an_old_array_of_coarse_blocks_opens() -> None:
    expected, back = spectra(), zarr.open_array(GOLDEN / "eels_blocks_v1.zarr", mode="r")[...]
    fine = np.array([float(f"{x:.3e}") for x in expected[..., 20:30].ravel()], np.float32).reshape(8, 9, 10)
    np.testing.assert_array_equal(back[..., 20:30], fine)
    assert np.isnan(back[1, 2, 3])
    assert back[0, 0, 60] == -np.inf
    assert back[7, 8, 40] == 12345
    good = np.isfinite(expected) & (np.abs(expected) < 1e4)
    good[..., 20:30] = False
    assert np.sqrt(((back[good] - expected[good]) ** 2).mean()) < 16


def test_a_chunk_that_claims_more_than_it_has_is_refused_before_memory_is_asked_for() -> None:
    store = MemoryStore()
    make(np.ones((1, 5, 4, 3), "u1"), LosslessZarrCodec(), store)
    prototype = zarr.core.buffer.default_buffer_prototype()
    larger = encode_lossless(np.zeros((1, 5, 4, 4), "u1"))
    store._store_dict["c/0/0/0/0"] = prototype.buffer.from_bytes(larger)
    with pytest.raises(FormatError, match="accepted are 60 bytes"):
        zarr.open_array(store, mode="r")[...]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "u1", "<i8", "c8"])
def test_anything_without_loss(rng, dtype) -> None:
    data = rng.normal(100, 30, (2, 7, 6, 50)).astype(dtype)
    back = make(data, LosslessZarrCodec(5), MemoryStore())
    assert back[...].astype(dtype).tobytes() == data.tobytes()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ParameterError, match="dtype complex64"):
        make(np.zeros((1, 5, 4, 3), "c8"), EelsBoundedZarrCodec(), MemoryStore())
    for configuration in ({"bound_sigma": -1}, {"colour": 3}, 5):
        with pytest.raises(FormatError, match=r"esteem\.eels-bounded"):
            EelsBoundedZarrCodec.from_dict({"name": "esteem.eels-bounded", "configuration": configuration})
    for blocks in (5, "auto", [5], [[0, 10]], [[10, 0, 3]], [[0, 10, 0]], [[0, 2**21, 3]], [[0, 9, 2], [5, 12, 2]]):
        with pytest.raises(FormatError, match=r"esteem\.eels-blocks"):
            EelsBlocksZarrCodec.from_dict({"name": "esteem.eels-blocks", "configuration": {"blocks": blocks}})
