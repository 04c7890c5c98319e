"""The plain driver: every frame once through every reducer, progress to the end, stop when told."""

from __future__ import annotations

import itertools
import threading

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from esteemcore import stream
from esteemcore.errors import CancelledError, ParameterError


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 23), max_size=50), size=st.integers(1, 20))
def test_results_and_progress(position_sum, spec, data, order, size) -> None:
    seen: list[float] = []
    pieces = stream.chunks(data, order=order, size=size)
    results = stream.run({"a": position_sum, "b": position_sum}, spec, pieces, progress=seen.append)
    expected = np.zeros((24, 15), int)
    for i in order:
        expected[i] += data.reshape(24, 15)[i]
    for name in ("a", "b"):
        np.testing.assert_array_equal(results[name]["sum"], expected)
        np.testing.assert_array_equal(results[name]["visits"], np.bincount(order, minlength=24) if order else 0)
    steps = [min(n, len(order)) for n in range(0, len(order) + size, size)]
    before_and_after = [min(n / 24, 1) for pair in itertools.pairwise(steps) for n in pair]
    assert seen == before_and_after + ([1.0] if len(order) < 24 else [])


def test_cancelling_stops_before_the_next_chunk(position_sum, spec, data) -> None:
    cancel, brought = threading.Event(), []

    def pieces():
        for chunk in stream.chunks(data, size=1):
            brought.append(chunk)
            if len(brought) == 3:
                cancel.set()
            yield chunk

    seen: list[float] = []
    with pytest.raises(CancelledError, match="after 2 of 24 steps"):
        stream.run({"a": position_sum}, spec, pieces(), progress=seen.append, cancel=cancel)
    assert len(brought) == 3
    assert max(seen) == 2 / 24


def test_what_does_not_fit_is_refused(position_sum, spec, data) -> None:
    with pytest.raises(ParameterError, match="this stream announced"):
        stream.run({"a": position_sum}, spec, stream.chunks(data.astype(np.int16)))


def test_no_chunk_at_all(position_sum, spec) -> None:
    assert not stream.run({"a": position_sum}, spec, [])["a"]["visits"].any()
    assert stream.run({}, spec, []) == {}
