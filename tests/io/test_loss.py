"""What a lossy codec changed is measured within the signal, and held to its promise everywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from esteemcore import io
from esteemcore.codec import eels, frame
from esteemcore.errors import StreamError
from esteemcore.io import choose_codec
from esteemcore.io.chunk_codecs import chunk_codec
from esteemcore.io.loss import LossCheck

BOUNDED = {"name": "esteem.eels-bounded", "bound_sigma": 0.5, "gain": 2.0, "readout_sigma": 3.0}
BLOCKS = {"name": "esteem.eels-blocks", "blocks": [(0, 40, 8), (40, 50, 1)], "n_components": 4}


@pytest.fixture
def counts(rng):
    return rng.poisson(np.linspace(2000, 100, 64), (9, 11, 64)).astype(np.float32)


def checked(codec, blocks):
    """Return the record of blocks and the parts of them that count."""
    check = LossCheck("eels", codec)
    for block, inside in blocks:
        check.add(block, b"".join(codec.encode(block)), inside)
    return check.record()


@pytest.mark.parametrize("spec", [BOUNDED, BLOCKS], ids=["bounded", "blocks"])
def test_what_a_block_has_beyond_the_signal_does_not_count(counts, spec) -> None:
    codec = chunk_codec(spec)
    padded = np.pad(counts, ((0, 7), (0, 5), (0, 0)))
    padded[9:] = 1e5
    record = checked(codec, [(padded, counts.shape)])
    back = np.asarray(codec.decode(b"".join(codec.encode(padded)), padded.shape, padded.dtype))[:9, :11]
    error = np.abs(back.astype(float) - counts)
    assert record["largest_error"] == error.max()
    assert record["rms_error"] == pytest.approx(np.sqrt((error**2).mean()))


def test_blocks_at_the_rims_are_padded_with_spectra(counts) -> None:
    axes = tuple(io.Axis(name, n) for name, n in zip(("y", "x", "energy"), counts.shape, strict=True))
    signal = io.Signal(counts.astype(">f4"), axes)
    plan = choose_codec.Plan(chunk_codec(BLOCKS), counts.shape, (5, 6, 64), np.dtype("f4"))
    places = list(plan.places())
    assert sum(int(np.prod(plan.inside(place))) for place in places) == counts.size
    for place in places:
        block = choose_codec.dense_block(signal.data, plan, place)
        assert (block.shape, block.dtype) == ((5, 6, 64), np.dtype("f4"))
        inside = plan.inside(place)
        np.testing.assert_array_equal(block[: inside[0], : inside[1]], counts[5 * place[0] :, 6 * place[1] :][:5, :6])
        assert block.min() >= counts.min() > 0
    zeros = choose_codec.dense_block(signal.data, choose_codec.Plan(chunk_codec("zstd"), *plan_parts(plan)), (1, 1, 0))
    assert not zeros[4:].any()


def plan_parts(plan):
    return plan.shape, plan.chunks, plan.dtype


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">i2", "u2"])
@pytest.mark.parametrize("spec", [BOUNDED, BLOCKS], ids=["bounded", "blocks"])
def test_any_byte_order_and_dtype(counts, spec, dtype) -> None:
    record = checked(chunk_codec(spec), [(counts.astype(dtype), None)])
    assert 0 < record["rms_error_sigma"] < 1.5


def test_parts_add_up_and_a_copy_stays_what_it_was(counts) -> None:
    codec = chunk_codec(BLOCKS)
    check = LossCheck("eels", codec)
    parts = [(counts[:5], codec.encode(counts[:5])[0]), (counts[5:], codec.encode(counts[5:])[0])]
    check.add(*parts[0])
    before, first = copy.copy(check), check.record()
    check.add(*parts[1])
    assert before.record() == first != check.record()
    back = np.concatenate([eels.decode_eels(data) for _, data in parts]).astype(float)
    noise = np.sqrt(np.maximum(back, 1))
    np.testing.assert_allclose(check.record()["rms_error_sigma"], np.sqrt((((back - counts) / noise) ** 2).mean()))
    shift = np.abs(((back - counts) / noise).mean(axis=(0, 1))).max()
    np.testing.assert_allclose(check.record()["shift_of_mean_sigma"], shift)


def changed(data: bytes, given: np.ndarray, place: tuple[int, ...], value: float) -> bytes:
    """Return a block of the same codec that decodes to other values at a place."""
    other = given.copy()
    other[place] = value
    opened = frame.unpack(data)
    spec = BOUNDED if opened.codec == BOUNDED["name"] else BLOCKS
    return chunk_codec(spec).encode(other)[0]


@pytest.mark.parametrize(
    ("spec", "place", "value"),
    [
        (BOUNDED, (1, 2, 3), 500.0),
        (BOUNDED, (1, 2, 3), np.nan),
        (BOUNDED, (0, 0, 0), np.inf),
        (BLOCKS, (4, 4, 45), 101.0),
        (BLOCKS, (4, 4, 3), np.nan),
        (BLOCKS, (4, 4, 3), -np.inf),
        (BLOCKS, (0, 0, 0), np.inf),
    ],
)
def test_a_broken_promise_is_found(counts, spec, place, value) -> None:
    codec = chunk_codec(spec)
    counts[0, 0, 0] = np.nan
    data = codec.encode(counts)[0]
    LossCheck("eels", codec).add(counts, data)
    counts[4, 4, 45] = 1000
    with pytest.raises(StreamError, match="does not keep its bound"):
        LossCheck("eels", codec).add(counts, changed(data, counts, place, value))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u4", "i8"])
def test_four_figures_and_what_is_no_count_keep_the_promise(rng, dtype) -> None:
    values = rng.choice([-1.0, 1.0], (6, 7, 64)) * 10 ** rng.uniform(0, 4 if dtype in ("f2", "i2") else 9, (6, 7, 64))
    values = np.abs(values) if dtype == "u4" else values
    values = values.astype(dtype)
    if values.dtype.kind == "f":
        values[1, 2, 3], values[3, 4, 45] = np.nan, -np.inf
    record = checked(chunk_codec({**BLOCKS, "blocks": [(0, 64, 1)]}), [(values, None)])
    finite = np.isfinite(values)
    assert record["largest_error"] <= 1e-3 * np.abs(values[finite].astype(float)).max()
