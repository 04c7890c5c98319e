"""Components that form while spectra arrive: those of all counts at once, whatever the order, in bounded memory."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from esteemcore import spectral, stream
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI

from .known_spectra import angles, matched, phases, rates, regions

SHAPE, CHANNELS = (24, 24), 120


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    rate = rates(rng, 40.0, shape=SHAPE, channels=CHANNELS) / 4
    return [rng.poisson(rate).astype(np.uint16) for _ in range(4)]


def through(reducer, frames, order=None):
    spec = stream.Spec(SHAPE, (1, CHANNELS), np.uint16)
    state = reducer.init(spec)
    for frame in frames:
        chunk = spectral.spectra_chunk(frame)
        for part in np.array_split(np.arange(len(chunk)) if order is None else order, 3):
            reducer.update(state, stream.Chunk(chunk.index[part], chunk.frames[part]))
    return state


@pytest.mark.parametrize("kind", [spectral.OnlineNmf, spectral.OnlinePca])
def test_a_stream_is_the_same_as_all_at_once(rng, frames, kind) -> None:
    reducer = kind(3, energy_bins=30, blocks=50)
    once = reducer.result(through(reducer, [sum(frames)]))
    spread = reducer.result(through(reducer, frames[::-1], rng.permutation(SHAPE[0] * SHAPE[1])))
    np.testing.assert_array_equal(spread.spectra, once.spectra)
    np.testing.assert_allclose(spread.abundances * 4, once.abundances, rtol=1e-12)
    assert (spread.visits == 4).all()
    assert (once.note, spread.provenance.seed) == ("", 0)


def test_counts_of_both_sums_agree(frames) -> None:
    reducer = spectral.OnlineNmf(3, energy_bins=30, blocks=50)
    state = through(reducer, frames)
    total = sum(frames).reshape(-1, CHANNELS).astype(np.int64)
    np.testing.assert_array_equal(state["pixels"], total.reshape(len(total), 30, 4).sum(axis=2))
    np.testing.assert_array_equal(state["channels"].sum(axis=0), total.sum(axis=0))
    by_block = reducer.by_block(state.spec, state["pixels"].astype(float))
    np.testing.assert_array_equal(by_block, state["channels"].reshape(len(by_block), 30, 4).sum(axis=2))
    assert len(by_block) <= 64


def test_the_components_are_as_near_the_truth_as_those_of_the_whole_image(rng) -> None:
    spectra = phases(rng, 3, CHANNELS)
    amounts = 40 * regions(rng, SHAPE, 3)
    counts = rng.poisson(amounts @ spectra).astype(np.uint16)
    reducer = spectral.OnlineNmf(3, energy_bins=40, blocks=64)
    found = reducer.result(through(reducer, [counts]))
    whole = spectral.unmix(SparseSI.from_dense(counts), 3, "nmf", smoothing_px=0)
    online, batch = angles(found.spectra, spectra), angles(whole.spectra, spectra)
    assert np.sqrt(np.square(online).mean()) < 1.25 * np.sqrt(np.square(batch).mean())
    order, between = matched(found.spectra, whole.spectra)
    assert np.square(between).mean() < np.square(batch).mean()  # nearer to each other than to the truth
    away = np.square(found.abundances[order] - whole.abundances).mean()
    noise = np.square(whole.abundances - np.moveaxis(amounts, -1, 0)[matched(spectra, whole.spectra)[0]]).mean()
    assert away < 0.5 * noise
    np.testing.assert_allclose(found.spectra.sum(axis=1), 1)
    assert found.abundances.sum() == pytest.approx(counts.sum(), rel=1e-6)


def test_principal_components_span_what_those_of_the_whole_image_do(rng) -> None:
    counts = rng.poisson(rates(rng, 400.0, shape=SHAPE, channels=CHANNELS)).astype(np.uint16)
    reducer = spectral.OnlinePca(3, energy_bins=40, blocks=64)
    found = reducer.result(through(reducer, [counts]))
    whole = spectral.pca(counts, 3)
    bases = [
        np.linalg.svd(s * whole.channel_weights, full_matrices=False)[2] for s in (found.spectra, whole.components)
    ]
    cosines = np.linalg.svd(bases[0] @ bases[1].T)[1]
    assert np.degrees(np.arccos(cosines.min())) < 5
    model = np.moveaxis(found.abundances, 0, -1) @ found.spectra
    whole_model = whole.reconstruct()
    assert np.square(model - whole_model).sum() < 0.2 * np.square(counts - whole_model).sum() * 3 / CHANNELS


def test_what_was_not_visited_is_not_a_number_and_too_little_is_said(frames) -> None:
    reducer = spectral.OnlineNmf(3, energy_bins=30, blocks=50)
    spec = stream.Spec(SHAPE, (1, CHANNELS), np.uint16)
    state = reducer.init(spec)
    empty = reducer.result(state)
    assert np.isnan(empty.spectra).all()
    assert "fewer pixels" in empty.note
    chunk = spectral.spectra_chunk(frames[0])
    reducer.update(state, stream.Chunk(chunk.index[:300], chunk.frames[:300]))
    found = reducer.result(state)
    assert np.isfinite(found.abundances.reshape(3, -1)[:, :300]).all()
    assert np.isnan(found.abundances.reshape(3, -1)[:, 300:]).all()
    with pytest.raises(ParameterError, match="no more than the smaller number"):
        spectral.OnlineNmf(5, energy_bins=4).init(spec)


@pytest.mark.parametrize(("shift", "energy"), [((0, 0), 0), ((2, -1), 0), ((-3.2, 0.4), 4), ((0, 30), -7)])
def test_a_moved_frame_keeps_every_count_that_stays_inside(frames, shift, energy) -> None:
    dense = spectral.spectra_chunk(frames[0], shift, energy)
    sparse = spectral.spectra_chunk(SparseSI.from_dense(frames[0]), shift, energy)
    np.testing.assert_array_equal(dense.index, sparse.index)
    wide = np.zeros((120, 120, CHANNELS + 20), np.int64)
    at = [48 + round(shift[0]), 48 + round(shift[1]), 10 + energy]
    wide[at[0] : at[0] + 24, at[1] : at[1] + 24, at[2] : at[2] + CHANNELS] = frames[0]
    expected = wide[48:72, 48:72, 10:-10]
    for chunk in (dense, sparse):
        state = spectral.OnlineNmf(1, energy_bins=CHANNELS).init(stream.Spec(SHAPE, (1, CHANNELS), np.uint16))
        spectral.OnlineNmf(1, energy_bins=CHANNELS).update(state, chunk)
        np.testing.assert_array_equal(state["pixels"].reshape(expected.shape), expected)


def test_a_frame_that_is_none_is_refused(frames) -> None:
    with pytest.raises(ParameterError, match=r"expected \(y, x, energy\)"):
        spectral.spectra_chunk(frames[0][0])
    with pytest.raises(ParameterError, match="two finite numbers"):
        spectral.spectra_chunk(frames[0], (np.nan, 0))


@pytest.mark.parametrize("module", ["online", "online_sums"])
def test_the_examples_are_right(module) -> None:
    result = doctest.testmod(importlib.import_module(f"esteemcore.spectral.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
