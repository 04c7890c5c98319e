"""Plain Zarr reads and writes arrays through the codecs of spectra."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
import zarr.registry
from zarr.storage import MemoryStore

from esteemcore.codec.eels import decode_eels
from esteemcore.codec.zarr_eels import EelsBoundedZarrCodec, LosslessZarrCodec
from esteemcore.errors import FormatError, ParameterError


@pytest.fixture(autouse=True)
def registered():
    for codec in (EelsBoundedZarrCodec, LosslessZarrCodec):
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
