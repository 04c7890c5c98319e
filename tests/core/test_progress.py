"""Progress runs from 0 to 1 and a cancelled work stops at its next step."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given

from esteemcore._core.progress import Progress
from esteemcore.errors import CancelledError


@given(total=st.integers(0, 20), steps=st.lists(st.integers(0, 5), max_size=20))
def test_progress_never_falls_and_ends_at_one(total, steps) -> None:
    seen: list[float] = []
    progress = Progress(total, seen.append)
    for n in steps:
        progress.step(n)
    progress.finish()
    assert seen == sorted(seen)
    assert all(0 <= fraction <= 1 for fraction in seen)
    assert seen[-1] == 1
    assert seen[: len(steps)] == [min(sum(steps[: i + 1]) / max(total, 1), 1) for i in range(len(steps))]


def test_a_finished_work_does_not_report_its_end_twice() -> None:
    seen: list[float] = []
    progress = Progress(2, seen.append)
    progress.step(2)
    progress.finish()
    assert seen == [1.0]


def test_cancel_stops_before_the_step_is_counted() -> None:
    seen: list[float] = []
    cancel = threading.Event()
    progress = Progress(4, seen.append, cancel)
    progress.step()
    cancel.set()
    with pytest.raises(CancelledError, match="after 1 of 4 steps"):
        progress.step()
    assert seen == [0.25]


def test_neither_progress_nor_cancel_is_needed() -> None:
    progress = Progress(1)
    assert progress.step() is None
    assert progress.finish() is None
