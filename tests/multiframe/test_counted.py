"""Counts that come piece by piece are those of the dense sum; turned and sub-pixels added up like dense frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteemcore import io, multiframe
from esteemcore.errors import ParameterError, StreamError
from esteemcore.events import SparseSI
from esteemcore.multiframe.counted import upright_events


@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 5), st.integers(1, 6))
def test_pieces_in_any_order_make_the_frame(seed: int, rows: int, columns: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (2, rows * columns, channels)).astype(np.uint16)  # each place is visited twice
    visits = rng.permutation(2 * rows * columns)
    gathered = multiframe.CountedSpectra((rows, columns), channels)
    for piece in np.array_split(visits, 3):
        gathered.add(piece % (rows * columns), counts.reshape(-1, channels)[piece].astype(np.float32))
    found = gathered.result()
    assert np.array_equal(found.to_dense(), counts.sum(axis=0).reshape(rows, columns, channels))
    assert found.dtype == np.uint16


@pytest.mark.parametrize("order", multiframe.ORDERS)
@pytest.mark.parametrize("subpixels", [1, 2])
@pytest.mark.parametrize("frame", [0, 1, 3])
def test_events_are_put_upright_like_dense_frames(order: str, subpixels: int, frame: int) -> None:
    one = multiframe.frame_order((4, 6), order, frame, seed=1)
    dense = np.random.default_rng(2).poisson(0.7, (*one.shape, 5)).astype(np.uint16)
    found = upright_events(SparseSI.from_dense(dense), one, subpixels, np.uint32)
    wanted = multiframe.sum_subpixels(one.upright(dense), subpixels, np.uint32)
    assert np.array_equal(found.to_dense(), wanted)
    assert found.dtype == np.uint32


def test_turned_events_with_subpixels_are_stored(tmp_path) -> None:
    region = multiframe.Region((3, 4), 0.1)
    signals = {
        "adf": io.SeriesSignal((3, 4), np.float32),
        "eds": io.SeriesSignal((3, 4, 8), np.uint16, kind="events"),
    }
    settings = multiframe.SeriesSettings(current_pa=1, dwell_s=1e-5, frames=4, order="turned raster", subpixels=2)
    plan = multiframe.SeriesPlan(region, settings, signals)
    scene = np.random.default_rng(0).poisson(0.5, (6, 8, 8)).astype(np.uint16)

    def take(request):
        turned = np.rot90(scene, -request.order.quarter_turns)
        return {"adf": turned.sum(axis=2, dtype=np.float32), "eds": SparseSI.from_dense(turned)}

    result = multiframe.acquire_series(plan, multiframe.SessionFolder(tmp_path).new_region(), take)
    assert result.frames == 4, result.summary
    wanted = scene.reshape(3, 2, 4, 2, 8).sum(axis=(1, 3))
    for number in range(4):
        stored = result.folder.frame(number)
        assert np.array_equal(stored["eds"].to_dense(), wanted)
        assert np.array_equal(stored["adf"], wanted.sum(axis=2))


def test_what_is_no_count_is_refused() -> None:
    gathered = multiframe.CountedSpectra((1, 2), 3)
    with pytest.raises(ParameterError, match=r"expected \(2, 3\)"):
        gathered.add([0, 1], [[1, 2, 3]])
    with pytest.raises(StreamError, match="no whole numbers"):
        gathered.add([0], [[0.0, 0.5, 1.0]])
    with pytest.raises(StreamError, match="below zero"):
        gathered.add([0], [[0, -1, 1]])
    gathered.add([0, 0], [[0, 40_000, 0]] * 2)
    with pytest.raises(StreamError, match="more than uint16 can hold"):
        gathered.result()
    assert gathered.result(np.uint32).count.tolist() == [80_000]
