"""What additive reducers share: visits, merging without overflow, dumping and loading."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import events, stream
from esteemcore.errors import ParameterError
from esteemcore.stream.additive import add_widening


def test_visits_are_counted_per_position(position_sum, spec, data) -> None:
    state = position_sum.init(spec)
    for chunk in stream.chunks(data, order=[3, 3, 0, 3, 23], size=2):
        position_sum.update(state, chunk)
    assert state["visits"].tolist() == [1, 0, 0, 3, *[0] * 19, 1]
    np.testing.assert_array_equal(state["sum"][3], 3 * data[0, 3].ravel().astype(int))


def test_a_chunk_that_does_not_fit_changes_nothing(position_sum, spec, data) -> None:
    state = position_sum.init(spec)
    with pytest.raises(ParameterError, match="positions 0 to 24"):
        position_sum.update(state, stream.Chunk([0, 24], data[0, :2]))
    assert not any(array.any() for array in state.arrays.values())


def test_packed_frames_and_events_say_the_same(position_sum) -> None:
    spec = stream.Spec((4, 6), (3, 13), np.uint8, packed=True)
    frames = np.random.default_rng(2).random((24, 3, 13)) < 0.2
    index = np.random.default_rng(3).permutation(24)
    states = [position_sum.init(spec) for _ in range(2)]
    position_sum.update(states[0], stream.Chunk(index, events.pack_bits(frames)))
    position_sum.update(states[1], stream.Chunk(index, events=events.events_from_frames(frames)))
    for state in states:
        np.testing.assert_array_equal(state["sum"][index], frames.reshape(24, -1))


def test_states_of_different_streams_do_not_merge(position_sum, spec) -> None:
    other = stream.Spec((6, 4), spec.frame_shape, spec.dtype)
    with pytest.raises(ParameterError, match="different streams cannot be merged"):
        position_sum.merge(position_sum.init(spec), position_sum.init(other))


def test_dump_and_load(position_sum, spec, data) -> None:
    state = position_sum.init(spec)
    for chunk in stream.chunks(data):
        position_sum.update(state, chunk)
    dump = position_sum.dump(state)
    before = {name: array.copy() for name, array in dump.items()}
    loaded = position_sum.load(spec, dump)
    position_sum.update(state, next(stream.chunks(data)))
    position_sum.update(loaded, next(stream.chunks(data)))
    for name, array in before.items():
        np.testing.assert_array_equal(dump[name], array)  # shares nothing with either state
        np.testing.assert_array_equal(loaded[name], state[name])
    with pytest.raises(ParameterError, match="the dumped state has 'sum' of shape None"):
        position_sum.load(spec, {"visits": dump["visits"]})
    with pytest.raises(ParameterError, match=r"'visits' of shape \(3,\); this reducer and stream need \(24,\)"):
        position_sum.load(spec, {**dump, "visits": np.zeros(3)})


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_sums_widen_before_they_overflow(dtype) -> None:
    top = np.iinfo(dtype).max
    a, b = np.array([top, 0], dtype), np.array([1, 0], dtype)
    total = add_widening(a, b)
    assert total.tolist() == [top + 1, 0]
    assert add_widening(total, a).tolist() == [2 * top + 1, 0]
    fits = add_widening(np.array([top - 1], dtype), np.array([1], dtype))
    assert fits.tolist() == [top]
    assert fits.dtype == dtype
    assert add_widening(a[:0], b[:0]).shape == (0,)
