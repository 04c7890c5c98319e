"""Reducers and stores that fail: what else is done goes on, and what is said is true."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from esteemcore import stream
from esteemcore.errors import ReducerError, StreamError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.mark.parametrize("error", [RuntimeError("reducer is broken"), MemoryError(), SystemExit("reducer gave up")])
def test_a_broken_reducer_harms_neither_the_raw_data_nor_the_others(rig, position_sum, spec, data, error) -> None:
    bad, good, store = rig.Gated(position_sum, fail_at=2), rig.Gated(position_sum), rig.SpyStore()
    bad.error = error
    runner = stream.LiveRunner({"bad": bad, "good": good}, spec, store=store)
    pieces = stream.chunks(data, size=2)
    for piece in itertools.islice(pieces, 3):
        runner.put(piece)
    rig.wait_until(lambda: "bad" in runner.errors)  # before the end
    assert runner.errors["bad"] is error
    for piece in pieces:
        runner.put(piece)  # raises nothing
    with pytest.raises(ReducerError, match=rf"'bad' failed \({type(error).__name__}") as caught:
        runner.finish()
    assert caught.value.__cause__ is error
    assert caught.value.results.keys() == {"good"}
    rig.assert_results(caught.value.results["good"], data, range(24))
    rig.assert_frames(store.frames, data, range(24))
    assert bad.calls == 3
    with pytest.raises(ReducerError, match="'bad' failed"):
        runner.evaluate("bad", lambda reducer, state: state)
    assert runner.evaluate("good", lambda reducer, state: state["visits"].sum()) == 24


def test_a_result_that_cannot_be_made_is_an_error_of_that_reducer(rig, position_sum, spec, data) -> None:
    class NoResult(rig.Gated):
        def result(self, state: Any) -> Any:
            raise ZeroDivisionError("no frame")

    runner = stream.LiveRunner({"bad": NoResult(position_sum), "good": position_sum}, spec, store=None)
    runner.put(next(stream.chunks(data)))
    with pytest.raises(ReducerError, match=r"'bad' failed \(ZeroDivisionError: no frame\)") as caught:
        runner.finish()
    rig.assert_results(caught.value.results["good"], data, range(24))


@pytest.mark.parametrize("kind", ["error", "short"])
def test_frames_that_cannot_be_read_back_are_an_error_not_a_gap(rig, position_sum, spec, data, kind) -> None:
    class Forgetful(rig.SpyStore):
        def read(self, start: int, stop: int) -> Iterator[stream.Chunk]:
            if kind == "error":
                raise OSError("unplugged")
            return super().read(start, stop - 1)

    gated, store = rig.Gated(position_sum, opened=False), Forgetful()
    runner = stream.LiveRunner({"a": gated, "b": position_sum}, spec, store=store, memory_bytes=100)
    for piece in stream.chunks(data, size=2):
        rig.put_all(runner, iter([piece]))
        rig.wait_until(lambda: runner.status.stored == runner.status.acquired)
    gated.may_go.set()
    message = "unplugged" if kind == "error" else "the store gave 1 frames back for frames"
    with pytest.raises(ReducerError, match=f"'a', 'b' failed.*{message}") as caught:
        runner.finish()
    assert caught.value.results == {}
    rig.assert_frames(store.frames, data, range(24))


@pytest.mark.parametrize("fail_at", [0, 4, 11])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit()])
def test_a_full_disk_stops_the_acquisition_and_loses_nothing(rig, position_sum, spec, data, fail_at, error) -> None:
    store = rig.SpyStore(fail_at=fail_at, flush_fails=True)
    store.error = error
    runner = stream.LiveRunner({"a": position_sum}, spec, store=store, memory_bytes=150)
    pieces = list(stream.chunks(data, order=np.arange(24)[::-1], size=2))
    for piece in pieces[: fail_at + 1]:
        rig.put_all(runner, iter([piece]))
    rig.wait_until(lambda: store.flushes == 1)  # what was taken is made durable
    for piece in pieces[fail_at + 1 :]:
        with pytest.raises(StreamError, match=f"cannot be stored .*{2 * fail_at} of .* frames were taken"):
            runner.put(piece)
    with pytest.raises(StreamError, match=f"{2 * fail_at} of 24 frames were taken .* still in memory") as caught:
        runner.finish()
    assert not isinstance(caught.value, ReducerError)
    assert caught.value.__cause__ is error
    rig.assert_results(caught.value.results["a"], data, range(24))
    order = list(range(23, -1, -1))
    rig.assert_frames(store.frames, data, order[: 2 * fail_at])
    unsaved = [(int(i), f) for c in runner.unsaved for i, f in zip(c.index, c.frames, strict=True)]
    rig.assert_frames(unsaved, data, order[2 * fail_at :])
    runner.abort()
    assert len(runner.unsaved) == 12 - fail_at


def test_a_file_that_cannot_be_completed_is_said(rig, position_sum, spec, data) -> None:
    store = rig.SpyStore(flush_fails=True)
    runner = stream.LiveRunner({"a": position_sum}, spec, store=store)
    rig.put_all(runner, stream.chunks(data))
    with pytest.raises(
        StreamError, match=r"could not be completed .*Input/output error.* took all 24 frames"
    ) as caught:
        runner.finish()
    rig.assert_results(caught.value.results["a"], data, range(24))
    assert runner.unsaved == []


def test_both_store_and_reducer_fail(rig, position_sum, spec, data) -> None:
    runner = stream.LiveRunner(
        {"bad": rig.Gated(position_sum, fail_at=0), "good": position_sum}, spec, store=rig.SpyStore(fail_at=1)
    )
    rig.put_all(runner, stream.chunks(data, size=6))
    with pytest.raises(StreamError, match="cannot be stored") as caught:
        runner.finish()
    assert caught.value.results.keys() == {"good"}
    rig.assert_results(caught.value.results["good"], data, range(24))
    assert "bad" in runner.errors


def test_a_failed_store_shows_before_the_next_put(rig, spec, data) -> None:
    class Full(rig.SpyStore):
        def append(self, chunk) -> None:
            raise OSError("full")

    runner = stream.LiveRunner({}, spec, store=Full())
    assert not runner.failed
    runner.put(next(iter(stream.chunks(data, size=2))))
    rig.wait_until(lambda: runner.failed)
    runner.abort()
    assert len(runner.unsaved) == 1
