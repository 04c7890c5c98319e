"""Watching a live run: results in time, status, states as they are."""

from __future__ import annotations

import threading
import time
import types
from typing import Any

import numpy as np
import pytest

from esteemcore import stream
from esteemcore.errors import CancelledError, ParameterError, ReducerError
from esteemcore.stream import live

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class Clock:
    """Stands in for the module `time` where the clock must not run by itself."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(live, "time", types.SimpleNamespace(monotonic=clock.monotonic))
    return clock


def wait_until_reduced(rig, runner: stream.LiveRunner, frames: int) -> None:
    rig.wait_until(lambda: runner.status.reduced == frames)


def test_results_are_published_as_often_as_asked_and_at_the_end(rig, position_sum, spec, data, clock) -> None:
    display = rig.Display()
    runner = stream.LiveRunner({"a": position_sum}, spec, store=None, publish=display, publish_interval_s=10)
    pieces = stream.chunks(data, size=2)
    runner.put(next(pieces))
    rig.wait_until(lambda: display.visits == [2])  # the first at once
    for now in (1000, 1005, 1009.9):
        clock.now = now
        runner.put(next(pieces))
        wait_until_reduced(rig, runner, runner.status.acquired)
    clock.now = 1010
    runner.put(next(pieces))
    rig.wait_until(lambda: len(display.shown) == 2)
    for piece in pieces:
        runner.put(piece)
    rig.assert_results(runner.finish()["a"], data, range(24))
    assert display.visits == [2, 10, 24]
    for results, status in display.shown:
        assert status.reduced == results["a"]["visits"].sum()


def test_making_results_takes_at_most_half_of_the_time(rig, position_sum, spec, data, clock) -> None:
    shown = []

    def slow_display(results: dict[str, Any], status: stream.LiveStatus) -> None:
        clock.now += 5
        shown.append(status.reduced)

    runner = stream.LiveRunner({"a": position_sum}, spec, store=None, publish=slow_display, publish_interval_s=1)
    pieces = stream.chunks(data, size=2)
    runner.put(next(pieces))
    rig.wait_until(lambda: shown == [2])
    clock.now = 1009.9  # began at 1000, took 5: not before 1010
    runner.put(next(pieces))
    wait_until_reduced(rig, runner, 4)
    clock.now = 1010
    runner.put(next(pieces))
    rig.wait_until(lambda: len(shown) == 2)
    runner.finish()
    assert shown == [2, 6]  # nothing new since, so nothing is shown again


def test_what_is_not_shown_yet_is_shown_though_no_chunk_comes(rig, position_sum, spec, data) -> None:
    display = rig.Display()
    with stream.LiveRunner({"a": position_sum}, spec, store=None, publish=display, publish_interval_s=0.05) as runner:
        pieces = stream.chunks(data, size=2)
        runner.put(next(pieces))
        rig.wait_until(lambda: display.visits == [2])
        runner.put(next(pieces))
        runner.put(next(pieces))
        rig.wait_until(lambda: display.visits[-1] == 6)
        before = len(display.shown)
        time.sleep(0.15)
        assert len(display.shown) == before  # an idle run is quiet
    assert display.visits[-1] == 6


def test_no_chunk_no_display(rig, position_sum, spec) -> None:
    display = rig.Display()
    with stream.LiveRunner({"a": position_sum}, spec, store=None, publish=display, publish_interval_s=0):
        pass
    assert display.shown == []


@pytest.mark.parametrize("error", [RuntimeError("window closed"), SystemExit()])
def test_a_broken_display_is_called_once_and_harms_nothing(rig, position_sum, spec, data, error) -> None:
    calls = []

    def broken(results: dict[str, Any], status: stream.LiveStatus) -> None:
        calls.append(status)
        raise error

    store = rig.SpyStore()
    runner = stream.LiveRunner({"a": position_sum}, spec, store=store, publish=broken, publish_interval_s=0)
    rig.put_all(runner, stream.chunks(data, size=1))
    with pytest.raises(ReducerError, match="'publish' failed") as caught:
        runner.finish()
    assert len(calls) == 1
    assert runner.errors == {"publish": error}
    rig.assert_results(caught.value.results["a"], data, range(24))
    rig.assert_frames(store.frames, data, range(24))


def test_the_display_may_stop_the_run_but_not_wait_for_it(rig, position_sum, spec, data) -> None:
    holder: list[stream.LiveRunner] = []
    ready, stopped = threading.Event(), threading.Event()

    def stop(results: dict[str, Any], status: stream.LiveStatus) -> None:
        assert ready.wait(rig.PATIENCE_S)
        holder[0].abort()
        stopped.set()

    store = rig.SpyStore()
    runner = stream.LiveRunner({"a": position_sum}, spec, store=store, publish=stop, publish_interval_s=0)
    holder.append(runner)
    rig.put_all(runner, stream.chunks(data, size=1))
    ready.set()
    assert stopped.wait(rig.PATIENCE_S)
    with pytest.raises(CancelledError, match="after 1 of 24"):
        runner.finish()
    rig.assert_frames(store.frames, data, range(24))

    def wait(results: dict[str, Any], status: stream.LiveStatus) -> None:
        assert ready.wait(rig.PATIENCE_S)
        holder[0].finish()

    ready.clear()
    runner = stream.LiveRunner({"a": position_sum}, spec, store=None, publish=wait, publish_interval_s=0)
    holder[0] = runner
    rig.put_all(runner, stream.chunks(data, size=1))
    ready.set()
    with pytest.raises(ReducerError, match=r"'publish' failed .*cannot wait for itself"):
        runner.finish()


def test_a_slow_start_is_soon_forgotten_in_the_rate(position_sum, spec, data, clock) -> None:
    with stream.LiveRunner({"a": position_sum}, spec, store=None) as runner:
        pieces = stream.chunks(data, size=2)
        runner.put(next(pieces))
        clock.now += 60  # e.g. the microscope was prepared
        for _ in range(5):
            runner.put(next(pieces))
            clock.now += 0.5
        runner.put(next(pieces))
        assert runner.status.frames_per_s == pytest.approx(2 / 0.5)


def test_the_status_tells_lag_and_rate(rig, position_sum, spec, data, clock) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    runner = stream.LiveRunner({"a": gated}, spec, store=store)
    assert runner.status == stream.LiveStatus(0, 0, 0, 0, 0.0, 0.0, 0)
    pieces = stream.chunks(data, size=4)
    runner.put(next(pieces))
    assert runner.status.frames_per_s == 0.0  # not known from one chunk
    for _ in range(4):
        clock.now += 0.5
        runner.put(next(pieces))
    clock.now += 3
    rig.wait_until(lambda: runner.status.stored == 20)
    unit = next(stream.chunks(data, size=4)).nbytes
    assert runner.status == stream.LiveStatus(20, 20, 0, 20, 5.0, 8.0, 5 * unit)
    gated.may_go.set()
    runner.finish()
    assert runner.status == stream.LiveStatus(20, 20, 20, 0, 0.0, 8.0, 0)


def test_evaluate_sees_a_state_between_two_chunks(rig, position_sum, spec, data) -> None:
    class Halves(rig.Gated):
        """Adds a chunk in two steps, so that a look in between would show."""

        def update(self, state: Any, chunk: stream.Chunk) -> None:
            state["sum"][chunk.index] += chunk.frames.reshape(len(chunk), -1)
            time.sleep(0.002)
            state["visits"][chunk.index] += np.uint32(1)

    frames = data.reshape(24, 15)

    def assert_whole(state: Any) -> int:
        np.testing.assert_array_equal(state["sum"], frames * state["visits"][:, None])
        return int(state["visits"].sum())

    with stream.LiveRunner({"a": Halves(position_sum), "b": Halves(position_sum)}, spec, store=None) as runner:
        rig.put_all(runner, stream.chunks(data, size=1))
        seen = []
        while not seen or seen[-1] < 24:
            seen.append(runner.evaluate("b", lambda reducer, state: assert_whole(state)))
        assert seen == sorted(seen)
        assert runner.evaluate("a", lambda reducer, state: type(reducer)) is Halves
        with pytest.raises(ParameterError, match="there is no reducer 'c'; this run has a, b"):
            runner.evaluate("c", lambda reducer, state: None)
