"""With which loss the window for compressing stores data items, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_store import compress, opened, spectra
from process_swift import Swift, calibrated, in_memory

from esteemcore import io
from esteemcore.io import chunk_codecs
from nionswift_plugin.esteem_process import store_window


@pytest.fixture
def app(swift: Any) -> Iterator[Swift]:
    with in_memory() as made:
        yield made


def test_a_bounded_error_is_measured_and_told(app: Swift, tmp_path: Path) -> None:
    item = app.add(spectra())
    store = opened(app, item, path=tmp_path / "b.esteem")
    assert not store.is_bounded.value
    store.method_index.value = store_window.BOUNDED
    assert store.is_bounded.value
    store.bound_edit.editing_finished("0.25")
    message = compress(app, store)
    signal = next(iter(io.load(tmp_path / "b.esteem").signals.values()))
    error = np.abs(np.asarray(signal.data) - item.data) / np.sqrt(np.maximum(item.data, 1e-9))
    assert 0 < error.max() <= 0.25 * (1 + 1e-6)
    assert f"largest error {error.max():.3g} σ" in message
    assert "no loss" not in message
    store.close_window()


@pytest.mark.parametrize(
    ("kind", "dtype", "method", "words"),
    [
        ("image", np.float32, "Bounded error (loses noise)", "stores spectra"),
        ("spectrum image", np.float32, "Events (whole counts), lossless", "whole counts"),
    ],
)
def test_a_method_that_does_not_fit(app: Swift, tmp_path: Path, kind: str, dtype: Any, method: str, words: str) -> None:
    store = opened(app, app.add(spectra(kind, dtype)), path=tmp_path / "a.esteem")
    store.method_index.value = list(store_window.METHODS).index(method)
    assert words in compress(app, store)
    assert not list(tmp_path.iterdir())
    assert not store.can_remove.value
    store.method_index.value = 0
    assert "found whole" in compress(app, store)
    store.close_window()


@pytest.mark.parametrize("method", [m for m in store_window.METHODS if "loses" not in m])
def test_every_lossless_method_is_lossless(app: Swift, tmp_path: Path, method: str) -> None:
    item = app.add(spectra(dtype=np.int32))
    store = opened(app, item, path=tmp_path / "a.esteem.zip")
    store.method_index.value = list(store_window.METHODS).index(method)
    assert "no loss" in compress(app, store)
    (found,) = app.receive(tmp_path / "a.esteem.zip")
    assert np.array_equal(found.data, item.data)
    store.close_window()


def test_the_window_offers_what_containers_store(app: Swift, tmp_path: Path) -> None:
    store = opened(app, app.add(spectra()), path=tmp_path / "a.esteem")
    assert store.method_names.value == list(store_window.METHODS)
    offered = [codec for codec in store_window.METHODS.values() if codec is not None]
    assert set(offered) == set(chunk_codecs.STORED) - {chunk_codecs.BINARY}  # no data item has one-bit frames
    for title, codec in store_window.METHODS.items():
        assert ("loses" in title) == (codec is not None and codec not in chunk_codecs.EXACT)
    shown = []
    for index in range(len(store_window.METHODS)):
        store.method_index.value = index
        shown.append((store.is_bounded.value, store.is_coarse.value, store.is_lossy.value))
    assert shown == [(False, False, False)] * 4 + [(True, False, True), (False, True, True)]
    store.close_window()


def edges() -> Any:
    """A spectrum image with a background and an edge at channel 300 of 512, from 0.5 eV in steps of 0.75 eV."""
    energy = 50.0 + np.arange(512)
    mean = 4e5 * energy**-1.5 + np.where(np.arange(512) > 300, 25 * np.exp(-(np.arange(512) - 300) / 80), 0)
    data = np.random.default_rng(1).poisson(np.broadcast_to(mean, (12, 16, 512))).astype(np.float32)
    return calibrated(data, (False, 2, 1), ["nm", "nm", "eV"])


@pytest.mark.parametrize("blocks", ["auto", " 0:200:8, 200:260:1,260:380:8"])
def test_coarse_blocks(app: Swift, tmp_path: Path, blocks: str) -> None:
    item = app.add(edges())
    store = opened(app, item, path=tmp_path / "c.esteem")
    store.method_index.value = store_window.BLOCKS
    assert store.energy_unit.value == "eV"
    store.blocks_edit.editing_finished(blocks)
    store.components_edit.editing_finished("4")
    store.readout_edit.editing_finished("0,5")
    message = compress(app, store)
    signal = next(iter(io.load(tmp_path / "c.esteem").signals.values()))
    (loss,) = signal.metadata["loss"]
    used = loss["configuration"]
    assert (used["n_components"], used["gain"], used["readout_sigma"]) == (4, 1.0, 0.5)
    if blocks != "auto":  # 200 eV is channel (200 - 0.5) / 0.75 = 266, 260 eV channel 346, 380 eV channel 506
        assert used["blocks"] == [[0, 266, 8], [266, 346, 1], [346, 506, 8], [506, 512, 1]]
        stored = np.asarray(signal.data)[..., 266:346]
        assert np.allclose(stored, np.asarray(item.data)[..., 266:346], rtol=0.51e-3)
    assert sum(stop - start for start, stop, factor in used["blocks"]) == 512
    assert "esteem.eels-blocks" in message
    assert f"the mean of no channel moved by more than {loss['shift_of_mean_sigma']:.2g} σ" in message
    assert "no loss" not in message
    store.close_window()


@pytest.mark.parametrize(
    ("blocks", "components", "words"),
    [
        ("100:450", "30", "blocks are '100:450'; expected start:stop:factor"),
        ("0:100:8, 50:200:1", "30", "before the end of the block before it"),
        ("5000:6000:8", "30", "holds no channel of the spectrum"),
        ("auto", "many", "must be numbers"),
        ("auto", "-1", "n_components"),
    ],
)
def test_blocks_that_cannot_be(app: Swift, tmp_path: Path, blocks: str, components: str, words: str) -> None:
    store = opened(app, app.add(edges()), path=tmp_path / "c.esteem")
    store.method_index.value = store_window.BLOCKS
    store.blocks_edit.editing_finished(blocks)
    store.components_edit.editing_finished(components)
    assert words in compress(app, store)
    assert not list(tmp_path.iterdir())
    store.close_window()


@pytest.mark.parametrize("blocks", ["auto", "0:1:2"])
def test_no_coarse_blocks_of_an_image(app: Swift, tmp_path: Path, blocks: str) -> None:
    store = opened(app, app.add(spectra("image")), path=tmp_path / "c.esteem")
    store.method_index.value = store_window.BLOCKS
    store.blocks_edit.editing_finished(blocks)
    assert "stores spectra" in compress(app, store)
    store.close_window()
