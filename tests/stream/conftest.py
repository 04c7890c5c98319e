"""A reducer that is easy to check by hand, data for it, and stores and reducers that wait and fail on command."""

from __future__ import annotations

import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from esteemcore import stream
from esteemcore.errors import StreamError
from esteemcore.stream import live


class PositionSum(stream.AdditiveReducer):
    """Sum of every pixel at every position, exactly; remembers nothing else."""

    def zeros(self, spec: stream.Spec) -> dict[str, Any]:
        return {"sum": np.zeros((spec.positions, spec.pixels), np.int64)}

    def add(self, state: stream.Sums, chunk: stream.Chunk) -> None:
        electrons = chunk.electrons(state.spec)
        frames = chunk.frames if electrons is None else electrons.to_frames(state.spec.frame_shape)
        np.add.at(state["sum"], chunk.index, frames.reshape(len(chunk), state.spec.pixels).astype(np.int64))

    def result(self, state: stream.Sums) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in state.arrays.items()}


PATIENCE_S = 20


@pytest.fixture
def nothing_left_behind(monkeypatch) -> Iterator[None]:
    """No thread lives on, and nothing waits for the end of the interpreter."""
    at_exit: list[Callable[[], None]] = []

    def unregister(function: Callable[[], None]) -> None:
        at_exit[:] = [other for other in at_exit if other != function]

    monkeypatch.setattr(live, "atexit", types.SimpleNamespace(register=at_exit.append, unregister=unregister))
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("esteem-")]
    assert at_exit == []


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.0005)


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a function in another thread; calling the return value waits for it and returns or raises its outcome."""
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def join() -> Any:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "blocked"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["result"]

    return join


class SpyStore:
    """Keeps frames one by one in memory, and notes what was asked of it."""

    def __init__(self, *, fail_at: int | None = None, flush_fails: bool = False) -> None:
        self.may_append = threading.Event()
        self.may_append.set()
        self.frames: list[tuple[int, np.ndarray]] = []
        self.reads: list[tuple[int, int]] = []
        self.calls = self.flushes = 0
        self.fail_at, self.flush_fails = fail_at, flush_fails
        self.error: BaseException = OSError(28, "No space left on device")

    def append(self, chunk: stream.Chunk) -> None:
        assert self.may_append.wait(PATIENCE_S)
        if self.calls == self.fail_at:
            raise self.error
        self.calls += 1
        self.frames += [(int(i), frame.copy()) for i, frame in zip(chunk.index, chunk.frames, strict=True)]

    def read(self, start: int, stop: int) -> Iterator[stream.Chunk]:
        self.reads.append((start, stop))
        for i, frame in self.frames[start:stop]:
            yield stream.Chunk([i], frame[None])

    def flush(self) -> None:
        self.flushes += 1
        if self.flush_fails:
            raise OSError(5, "Input/output error")


class Gated:
    """A reducer that waits before every chunk until it may go on, and fails at the chunk it is told to."""

    def __init__(self, reducer: Any, *, opened: bool = True, fail_at: int | None = None) -> None:
        self.reducer, self.fail_at = reducer, fail_at
        self.error: BaseException = RuntimeError("reducer is broken")
        self.may_go = threading.Event()
        if opened:
            self.may_go.set()
        self.entered = threading.Event()
        self.seen: list[int] = []
        self.calls = 0

    def init(self, spec: stream.Spec) -> Any:
        return self.reducer.init(spec)

    def update(self, state: Any, chunk: stream.Chunk) -> None:
        self.entered.set()
        assert self.may_go.wait(PATIENCE_S)
        self.calls += 1
        if self.calls - 1 == self.fail_at:
            raise self.error
        self.reducer.update(state, chunk)
        self.seen += chunk.index.tolist()

    def result(self, state: Any) -> Any:
        return self.reducer.result(state)


def assert_results(result: dict[str, np.ndarray], data: np.ndarray, order: Any) -> None:
    frames = data.reshape(-1, data.shape[2] * data.shape[3]).astype(int)
    expected = np.zeros_like(frames)
    np.add.at(expected, np.asarray(order, int), frames[np.asarray(order, int)])
    np.testing.assert_array_equal(result["sum"], expected)
    np.testing.assert_array_equal(result["visits"], np.bincount(np.asarray(order, int), minlength=len(frames)))


def assert_frames(frames: list[tuple[int, np.ndarray]], data: np.ndarray, order: Any) -> None:
    """Check that stored frames are those of the visits, in order, each exactly once."""
    assert [i for i, _ in frames] == list(order)
    flat = data.reshape(-1, *data.shape[2:])
    for i, frame in frames:
        np.testing.assert_array_equal(frame, flat[i])


def put_all(runner: stream.LiveRunner, pieces: Iterator[stream.Chunk]) -> list[str]:
    """Put chunks though the runner asks to stop; return what it said."""
    said = []
    for piece in pieces:
        try:
            runner.put(piece)
        except StreamError as error:
            said.append(str(error))
    return said


def wait_until_ended(runner: stream.LiveRunner, spec: stream.Spec) -> None:
    """Wait until a run takes no chunk any more."""
    empty = stream.Chunk([], np.zeros((0, *spec.stored_shape), spec.dtype))
    wait_until(lambda: any("has ended" in text for text in put_all(runner, iter([empty]))))


class Display:
    """Notes what is published."""

    def __init__(self) -> None:
        self.shown: list[tuple[dict[str, Any], stream.LiveStatus]] = []

    def __call__(self, results: dict[str, Any], status: stream.LiveStatus) -> None:
        self.shown.append((results, status))

    @property
    def visits(self) -> list[int]:
        return [int(results["a"]["visits"].sum()) for results, _ in self.shown]


@pytest.fixture
def rig() -> types.SimpleNamespace:
    """What tests of the live driver are made with."""
    parts = (SpyStore, Gated, Display, wait_until, in_thread, put_all, wait_until_ended, assert_results, assert_frames)
    return types.SimpleNamespace(PATIENCE_S=PATIENCE_S, **{part.__name__: part for part in parts})


@pytest.fixture
def position_sum() -> PositionSum:
    return PositionSum()


@pytest.fixture
def spec() -> stream.Spec:
    return stream.Spec((4, 6), (3, 5), np.uint8)


@pytest.fixture
def data(spec, rng) -> np.ndarray:
    """Frames that are all different, in image order."""
    return rng.integers(0, 200, (*spec.scan_shape, *spec.frame_shape), np.uint8)
