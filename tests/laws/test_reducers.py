"""The laws of streams, for every reducer there is, on every kind of frames."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from known_reducers import FRAME, REDUCERS, SCAN

from esteemcore import diffraction, events, fourd, spectral, stream

KINDS = ("packed", "uint8", "uint16", "events", "float32", "bool")


def make_chunk(kind: str, index: np.ndarray, seed: int) -> stream.Chunk:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (len(index), *FRAME))
    if kind == "packed":
        return stream.Chunk(index, events.pack_bits(counts))
    if kind == "events":
        return stream.Chunk(index, events=events.events_from_frames(counts.astype(np.uint16)))
    if kind == "float32":
        return stream.Chunk(index, rng.normal(1, 0.5, counts.shape).astype(np.float32))
    return stream.Chunk(index, counts.astype(kind))


def make_spec(kind: str) -> stream.Spec:
    dtype = {"packed": "uint8", "events": "uint16"}.get(kind, kind)
    return stream.Spec(SCAN, FRAME, np.dtype(dtype), packed=kind == "packed")


def assert_states(a: Any, b: Any, kind: str) -> None:
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays:
        if kind == "float32":
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-4)
        else:
            np.testing.assert_array_equal(a[name], b[name])


def reduce(reducer: Any, spec: stream.Spec, chunks: list[stream.Chunk]) -> Any:
    state = reducer.init(spec)
    for chunk in chunks:
        reducer.update(state, chunk)
    return state


def split(chunk: stream.Chunk, at: list[int]) -> list[stream.Chunk]:
    """Cut a chunk into pieces."""
    pieces = []
    for start, stop in zip([0, *at], [*at, len(chunk)], strict=True):
        if chunk.events is None:
            pieces.append(stream.Chunk(chunk.index[start:stop], chunk.frames[start:stop]))
        else:
            table = chunk.events
            rows = slice(table.offset[start], table.offset[stop])
            piece = events.EventTable(
                table.offset[start : stop + 1] - table.offset[start], table.pixel[rows], table.count[rows]
            )
            pieces.append(stream.Chunk(chunk.index[start:stop], events=piece))
    return pieces


def test_every_reducer_is_under_the_law() -> None:
    found = {
        name
        for package in (diffraction, fourd, spectral)
        for name, thing in inspect.getmembers(package, inspect.isclass)
        if all(hasattr(thing, method) for method in ("init", "update", "merge", "result", "dump", "load"))
    }
    assert found == set(REDUCERS)


positions = st.lists(st.integers(0, SCAN[0] * SCAN[1] - 1), min_size=0, max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REDUCERS)
@given(index=positions, cuts=st.lists(st.integers(0, 20), max_size=4), seed=st.integers(0, 99), data=st.data())
def test_neither_size_nor_order_of_chunks_matters(name, kind, index, cuts, seed, data) -> None:
    reducer, spec = REDUCERS[name], make_spec(kind)
    whole = make_chunk(kind, np.array(index, np.int64), seed)
    pieces = split(whole, sorted(min(c, len(index)) for c in cuts))
    shuffled = data.draw(st.permutations(pieces))
    assert_states(reduce(reducer, spec, [whole]), reduce(reducer, spec, shuffled), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REDUCERS)
@given(parts=st.lists(positions, min_size=3, max_size=3), seed=st.integers(0, 99))
def test_merging_is_addition(name, kind, parts, seed) -> None:
    reducer, spec = REDUCERS[name], make_spec(kind)
    chunks = [make_chunk(kind, np.array(p, np.int64), seed + i) for i, p in enumerate(parts)]
    a, b, c = (reduce(reducer, spec, [chunk]) for chunk in chunks)
    before = {key: value.copy() for key, value in a.arrays.items()}
    together = reduce(reducer, spec, chunks)
    assert_states(reducer.merge(reducer.merge(a, b), c), together, kind)
    assert_states(reducer.merge(a, reducer.merge(c, b)), together, kind)
    assert_states(reducer.merge(reducer.init(spec), a), a, kind)
    assert_states(reducer.merge(a, reducer.init(spec)), a, kind)
    for key, value in before.items():
        np.testing.assert_array_equal(a[key], value)


def numbers(result: Any) -> list[np.ndarray]:
    found = []
    for value in vars(result).values():
        values = value.values() if isinstance(value, dict) else [value]
        found += [v for v in values if isinstance(v, np.ndarray)]
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    # the states of OnlineNmf are those of OnlinePca; its results take longest
    [(name, kind) for name in REDUCERS for kind in KINDS if name != "OnlineNmf" or kind == "float32"],
)
@given(index=positions, seed=st.integers(0, 99))
def test_results_are_pure_and_states_survive_a_dump(name, kind, index, seed) -> None:
    reducer, spec = REDUCERS[name], make_spec(kind)
    chunk = make_chunk(kind, np.array(index, np.int64), seed)
    state = reduce(reducer, spec, [chunk])
    before = reducer.dump(state)
    first, second = reducer.result(state), reducer.result(state)
    for x, y in zip(numbers(first), numbers(second), strict=True):
        np.testing.assert_array_equal(x, y)
        assert not any(np.shares_memory(x, held) for held in state.arrays.values())
    for key, value in before.items():
        np.testing.assert_array_equal(state[key], value)
        assert value.dtype == state[key].dtype
    again = reducer.load(spec, before)
    assert_states(again, state, kind)
    reducer.update(again, chunk)
    assert_states(again, reduce(reducer, spec, [chunk, chunk]), kind)
    np.testing.assert_array_equal(reducer.dump(state)["visits"], before["visits"])


@pytest.mark.parametrize("name", REDUCERS)
def test_reducers_travel(name) -> None:
    """A reducer is sent to where the work is done, so it must survive pickling."""
    spec = make_spec("packed")
    chunk = make_chunk("packed", np.arange(12), 3)
    copy = pickle.loads(pickle.dumps(REDUCERS[name]))
    assert_states(reduce(copy, spec, [chunk]), reduce(REDUCERS[name], spec, [chunk]), "packed")


@pytest.mark.parametrize("name", REDUCERS)
def test_kinds_of_frames_agree(name) -> None:
    """The same electrons give the same sums, whether they come as bits, booleans, bytes, events or real numbers."""
    rng = np.random.default_rng(5)
    frames = (rng.random((12, *FRAME)) < 0.2).astype(np.uint8)
    index = rng.integers(0, 12, 12)
    table = events.events_from_frames(frames)
    given_as = {
        "packed": stream.Chunk(index, events.pack_bits(frames)),
        "bool": stream.Chunk(index, frames.astype(bool)),
        "uint8": stream.Chunk(index, frames),
        "events": stream.Chunk(index, events=table),
        "float32": stream.Chunk(index, frames.astype(np.float32)),
    }
    states = {kind: reduce(REDUCERS[name], make_spec(kind), [chunk]) for kind, chunk in given_as.items()}
    for state in states.values():
        for key, value in states["packed"].arrays.items():
            np.testing.assert_array_equal(state[key], value)


@pytest.mark.parametrize("name", REDUCERS)
def test_bad_chunks_are_refused_and_change_nothing(name) -> None:
    reducer, spec = REDUCERS[name], make_spec("uint8")
    state = reduce(reducer, spec, [make_chunk("uint8", np.arange(12), 1)])
    before = reducer.dump(state)
    frames = np.zeros((2, *FRAME), np.uint8)
    for chunk, message in (
        (stream.Chunk(np.array([0, 12]), frames), "positions 0 to 12.*0 to 11"),
        (stream.Chunk(np.array([-1, 0]), frames), "positions -1"),
        (stream.Chunk(np.array([0, 1]), frames[:, :8]), r"\(8, 16\)"),
        (stream.Chunk(np.array([0, 1]), frames.astype(np.uint16)), "uint16"),
        (stream.Chunk(np.array([0]), events=events.EventTable([0, 1], [256], [1])), "pixel 256"),
    ):
        with pytest.raises(ValueError, match=message):
            reducer.update(state, chunk)
    for key, value in before.items():
        np.testing.assert_array_equal(state[key], value)
