"""The live driver: right results without waiting, memory that stays bounded, nothing lost."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from esteemcore import events, stream
from esteemcore.errors import ParameterError, ReducerError, StreamError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    order=st.lists(st.integers(0, 23), max_size=40),
    size=st.integers(1, 12),
    memory=st.sampled_from([1, 60, 300, 10**6]),
    storing=st.booleans(),
)
def test_results_are_those_of_run_whatever_the_chunks_and_the_memory(
    rig, position_sum, spec, data, order, size, memory, storing
) -> None:
    store = rig.SpyStore() if storing else None
    reducers = {"a": position_sum, "b": position_sum}
    runner = stream.LiveRunner(reducers, spec, store=store, memory_bytes=memory)
    rig.put_all(runner, stream.chunks(data, order=order, size=size))
    results = runner.finish()
    expected = stream.run(reducers, spec, stream.chunks(data, order=order, size=5))
    for name in ("a", "b"):
        for key in ("sum", "visits"):
            np.testing.assert_array_equal(results[name][key], expected[name][key])
    status = runner.status
    assert (status.acquired, status.reduced, status.lag_frames) == (len(order), len(order), 0)
    assert (status.memory_bytes, status.lag_s) == (0, 0.0)
    if store is not None:
        rig.assert_frames(store.frames, data, order)
        assert status.stored == len(order)
        assert store.flushes == 1
        assert runner.unsaved == []


def test_packed_frames_and_events_go_through(position_sum) -> None:
    spec = stream.Spec((4, 6), (3, 13), np.uint8, packed=True)
    frames = np.random.default_rng(2).random((24, 3, 13)) < 0.2
    runner = stream.LiveRunner({"a": position_sum}, spec, store=None)
    runner.put(stream.Chunk(np.arange(10), events.pack_bits(frames[:10])))
    runner.put(stream.Chunk(np.arange(10, 24), events=events.events_from_frames(frames[10:])))
    np.testing.assert_array_equal(runner.finish()["a"]["sum"], frames.reshape(24, -1))


def test_put_waits_neither_for_the_store_nor_for_a_reducer(rig, position_sum, spec, data) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    store.may_append.clear()
    runner = stream.LiveRunner({"a": gated}, spec, store=store)
    said = rig.in_thread(lambda: rig.put_all(runner, stream.chunks(data, size=1)))
    assert said() == []  # all 24 puts came back while nothing was stored or reduced
    status = runner.status
    assert (status.acquired, status.stored, status.reduced, status.lag_frames) == (24, 0, 0, 24)
    assert len(runner.unsaved) == 24
    store.may_append.set()
    gated.may_go.set()
    rig.assert_results(runner.finish()["a"], data, range(24))
    assert gated.seen == list(range(24))
    rig.assert_frames(store.frames, data, range(24))


def test_the_giver_may_use_its_buffers_again_at_once(rig, position_sum, data) -> None:
    spec = stream.Spec((4, 6), (3, 5), np.uint8)
    seen: list[stream.Chunk] = []

    class Remember(rig.Gated):
        def update(self, state: Any, chunk: stream.Chunk) -> None:
            super().update(state, chunk)
            seen.append(chunk)

    gated = Remember(position_sum, opened=False)
    runner = stream.LiveRunner({"a": gated}, spec, store=None)
    index, frames, time_s, position = np.array([4]), data[0, :1].copy(), np.array([1.5]), np.array([[0.0, 4.25]])
    runner.put(stream.Chunk(index, frames, time_s=time_s, position=position))
    table = events.EventTable([0, 2], [3, 7], [1, 5])
    runner.put(stream.Chunk([5], events=table))
    for array in (index, frames, time_s, position, table.pixel, table.count):
        array[:] = 1
    gated.may_go.set()
    result = runner.finish()["a"]
    np.testing.assert_array_equal(result["sum"][4], data[0, 0].ravel())
    assert result["sum"][5].nonzero()[0].tolist() == [3, 7]
    assert result["sum"].sum() == data[0, 0].sum() + 6
    assert (seen[0].index.tolist(), seen[0].time_s.tolist(), seen[0].position.tolist()) == ([4], [1.5], [[0, 4.25]])


def test_chunks_leave_the_memory_once_stored_and_are_read_back(rig, position_sum, spec, data) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    unit = next(stream.chunks(data, size=1)).nbytes
    runner = stream.LiveRunner({"a": gated}, spec, store=store, memory_bytes=4 * unit)
    in_memory = []
    for piece in stream.chunks(data, size=1):
        frames = piece.frames.copy()
        in_memory.append(weakref.ref(frames))
        runner.put(stream.Chunk(piece.index, frames), copy=False)
        del frames
        rig.wait_until(lambda: runner.status.lag_frames == runner.status.stored)
        assert runner.status.memory_bytes <= 4 * unit
    del piece
    gc.collect()
    kept = [0, 1, 2, 23]  # the oldest, which are wanted next, and the newest, which came before there was room
    assert [i for i, ref in enumerate(in_memory) if ref() is not None] == kept
    assert store.reads == []
    assert runner.unsaved == []
    gated.may_go.set()
    rig.wait_until(lambda: runner.status.lag_frames == 0)
    rig.wait_until(lambda: not any(ref() is not None for ref in in_memory))
    rig.assert_results(runner.finish()["a"], data, range(24))
    assert gated.seen == list(range(24))
    assert store.reads == [(i, i + 1) for i in range(3, 23)]
    rig.assert_frames(store.frames, data, range(24))
    assert runner.status.memory_bytes == 0


def test_without_a_store_the_memory_fills_up_and_it_is_said(rig, position_sum, spec, data) -> None:
    gated = rig.Gated(position_sum, opened=False)
    unit = next(stream.chunks(data, size=1)).nbytes
    runner = stream.LiveRunner({"a": gated}, spec, store=None, memory_bytes=3 * unit)
    pieces = stream.chunks(data, size=1)
    for piece in itertools.islice(pieces, 3):
        runner.put(piece)
    with pytest.raises(StreamError, match=r"the reducers cannot follow: .* MB of raw frames wait in memory.*nothing"):
        runner.put(next(pieces))
    assert runner.status.acquired == 4
    gated.may_go.set()
    rig.wait_until(lambda: runner.status.lag_frames == 0)
    with pytest.raises(StreamError, match="the reducers cannot follow"):  # it stays said, though there is room again
        runner.put(next(pieces))
    rig.assert_results(runner.finish()["a"], data, range(5))


def test_with_a_blocked_store_the_memory_fills_up_and_finish_still_stores_all(rig, position_sum, spec, data) -> None:
    store = rig.SpyStore()
    store.may_append.clear()
    unit = next(stream.chunks(data, size=1)).nbytes
    runner = stream.LiveRunner({"a": position_sum}, spec, store=store, memory_bytes=3 * unit)
    said = rig.put_all(runner, stream.chunks(data, size=1))
    assert len(said) == 21
    assert all("the disk cannot follow" in text and "nothing acquired is lost" in text for text in said)
    rig.wait_until(lambda: runner.status.lag_frames == 0)
    assert runner.status.memory_bytes == 24 * unit  # reduced, but not stored
    finish = rig.in_thread(runner.finish)
    store.may_append.set()
    rig.assert_results(finish()["a"], data, range(24))
    rig.assert_frames(store.frames, data, range(24))
    assert store.flushes == 1
    assert store.reads == []


def test_a_chunk_that_does_not_fit_is_not_taken(rig, position_sum, spec, data) -> None:
    with stream.LiveRunner({"a": position_sum}, spec, store=None) as runner:
        runner.put(next(stream.chunks(data, size=2)))
        with pytest.raises(ParameterError, match="positions 0 to 24"):
            runner.put(stream.Chunk([0, 24], data[0, :2]))
        assert runner.status.acquired == 2
        rig.assert_results(runner.finish()["a"], data, range(2))


def test_wrong_arguments_start_no_thread(rig, position_sum, spec) -> None:
    class Refusing(rig.Gated):
        def init(self, spec: stream.Spec) -> Any:
            raise ParameterError("masks have another shape")

    for reducers, keywords, message in (
        ({"a": position_sum}, {"memory_bytes": 0}, "memory_bytes is 0"),
        ({"a": position_sum}, {"memory_bytes": 1.5}, "memory_bytes is 1.5"),
        ({"a": position_sum}, {"publish_interval_s": -1}, "publish_interval_s is -1 s"),
        ({"publish": position_sum}, {}, "cannot be called 'publish'"),
        ({"a": Refusing(position_sum)}, {}, "another shape"),
    ):
        with pytest.raises(ParameterError, match=message):
            stream.LiveRunner(reducers, spec, store=None, **keywords)


@pytest.mark.parametrize("seed", range(12))
def test_random_delays_change_nothing(rig, position_sum, spec, data, seed) -> None:
    luck = random.Random(seed)

    def dawdle() -> None:
        if luck.random() < 0.3:
            time.sleep(luck.random() * 0.003)

    class SlowStore(rig.SpyStore):
        def append(self, chunk: stream.Chunk) -> None:
            dawdle()
            super().append(chunk)

        def read(self, start: int, stop: int) -> Iterator[stream.Chunk]:
            dawdle()
            return super().read(start, stop)

    class Slow(rig.Gated):
        def update(self, state: Any, chunk: stream.Chunk) -> None:
            dawdle()
            super().update(state, chunk)

    store = SlowStore(fail_at=luck.choice([None, None, 5]))
    slow, bad = Slow(position_sum), rig.Gated(position_sum, fail_at=luck.randrange(20))
    display = rig.Display()
    limit = luck.choice([200, 400, 10**6])
    runner = stream.LiveRunner(
        {"a": slow, "bad": bad}, spec, store=store, memory_bytes=limit, publish=display, publish_interval_s=0.001
    )
    watching, seen = threading.Event(), []

    def watch() -> None:
        while not watching.is_set():
            status = runner.status
            assert status.memory_bytes >= 0
            assert 0 <= status.reduced <= status.acquired
            assert 0 <= status.stored <= status.acquired
            assert status.lag_s >= 0
            seen.append((status.acquired, status.stored, status.reduced))
            runner.evaluate("a", lambda reducer, state: state["visits"].sum())
            time.sleep(0.0005)

    watcher = rig.in_thread(watch)
    order, at = [luck.randrange(24) for _ in range(60)], 0
    flat = data.reshape(24, 3, 5)
    while at < len(order):
        part = order[at : at + luck.randrange(0, 5)]
        at += len(part)
        try:
            runner.put(stream.Chunk(np.array(part, int), flat[np.array(part, int)]))
            assert runner.status.memory_bytes <= limit
        except StreamError:
            pass
        dawdle()
    with pytest.raises(StreamError) as caught:
        runner.finish()
    watching.set()
    watcher()
    assert isinstance(caught.value, ReducerError) == (store.fail_at is None)
    assert caught.value.results.keys() == {"a"}
    rig.assert_results(caught.value.results["a"], data, order)
    assert slow.seen == order
    unsaved = [(int(i), f) for c in runner.unsaved for i, f in zip(c.index, c.frames, strict=True)]
    rig.assert_frames(store.frames + unsaved, data, order)
    assert bool(unsaved) == (store.fail_at is not None)
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(column)
    assert display.visits == sorted(display.visits)
    assert display.visits[-1] == len(order)
    assert runner.status.memory_bytes == sum(c.nbytes for c in runner.unsaved)
