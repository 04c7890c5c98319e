"""The backlog keeps every chunk until store and reducers have had it, and knows what memory it takes."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esteemcore import stream
from esteemcore.stream.backlog import Backlog

UNIT = stream.Chunk([0], np.zeros((1, 1, 1), np.uint8)).nbytes


def chunk(number: int, frames: int = 1) -> stream.Chunk:
    return stream.Chunk([number] * frames, np.full((frames, 1, 1), number % 256, np.uint8))


class BacklogMachine(RuleBasedStateMachine):
    """Any interleaving of acquisition, store and reducers."""

    @initialize(limit=st.integers(1, 12), storing=st.booleans())
    def start(self, limit, storing) -> None:
        self.storing = storing
        self.backlog = Backlog(limit * UNIT, storing=storing)
        self.added: list[stream.Chunk] = []
        self.stored: list[stream.Chunk] = []
        self.reduced = 0
        self.reducing = None
        self.stopped = False
        self.enough = True

    @rule(frames=st.integers(0, 3))
    def acquire(self, frames) -> None:
        if not self.stopped:
            new = chunk(len(self.added), frames)
            self.added.append(new)
            self.backlog.add(new, time=float(len(self.added)))
            self.enough = self.backlog.make_room()

    @rule()
    def store(self) -> None:
        entry = self.backlog.next_to_store()
        assert entry is self.backlog.next_to_store()
        if entry is not None:
            self.stored.append(entry.chunk)
            self.backlog.mark_stored()
            self.enough = self.backlog.make_room()

    @precondition(lambda self: self.reducing is None)
    @rule()
    def begin_to_reduce(self) -> None:
        self.reducing = self.backlog.next_to_reduce()
        if self.reducing is not None:
            expected = self.added[self.reduced]
            assert self.reducing.frames == len(expected)
            assert self.reducing.first == sum(len(c) for c in self.added[: self.reduced])
            if self.reducing.chunk is None:
                assert any(c is expected for c in self.stored)  # it can be read back
            else:
                assert self.reducing.chunk is expected
            self.held = self.reducing.chunk

    @precondition(lambda self: self.reducing is not None)
    @rule()
    def end_to_reduce(self) -> None:
        assert self.reducing.chunk is self.held  # nobody took it away meanwhile
        self.backlog.mark_reduced()
        self.reduced += 1
        self.reducing = None

    @rule()
    def abort(self) -> None:
        self.backlog.stop_reducing()
        self.stopped = True

    @invariant()
    def nothing_is_lost_and_the_books_are_right(self) -> None:
        backlog = self.backlog
        unsaved = self.added[len(self.stored) :] if self.storing else []
        assert [id(c) for c in backlog.unsaved] == [id(c) for c in unsaved]
        assert all(a is b for a, b in zip(self.stored, self.added, strict=False))
        assert backlog.acquired == sum(len(c) for c in self.added)
        assert backlog.stored == sum(len(c) for c in self.stored)
        assert backlog.reduced == sum(len(c) for c in self.added[: self.reduced])
        least = sum(c.nbytes for c in unsaved)
        assert least <= backlog.memory <= sum(c.nbytes for c in self.added)
        if self.stopped or self.reduced == len(self.added):
            held = self.reducing.nbytes if self.reducing is not None and self.reducing.chunk is not None else 0
            assert backlog.memory <= least + held  # nobody needs more
        waiting = not self.stopped and self.reduced < len(self.added)
        oldest = self.reduced + 1.0 if waiting or self.reducing is not None else None
        assert (backlog.oldest.time if backlog.oldest is not None else None) == oldest

    @invariant()
    def memory_is_within_the_limit_unless_it_was_said(self) -> None:
        assert not self.enough or self.backlog.memory <= self.backlog.limit


TestBacklog = BacklogMachine.TestCase
TestBacklog.settings = settings(max_examples=60, stateful_step_count=30)


def test_the_newest_stored_chunks_leave_first() -> None:
    backlog = Backlog(3 * UNIT, storing=True)
    for number in range(3):
        backlog.add(chunk(number), 0.0)
        backlog.mark_stored()
        assert backlog.make_room()
    backlog.add(chunk(3), 0.0)  # not stored: must stay
    assert backlog.make_room()
    taken = [backlog.next_to_reduce() for _ in range(4)]
    assert [entry.chunk is not None for entry in taken] == [True, True, False, True]
    assert backlog.memory == 3 * UNIT


@pytest.mark.parametrize("storing", [True, False])
def test_what_is_not_stored_makes_no_room(storing) -> None:
    backlog = Backlog(2 * UNIT, storing=storing)
    for number in range(2):
        backlog.add(chunk(number), 0.0)
        assert backlog.make_room()
    backlog.add(chunk(2), 0.0)
    assert not backlog.make_room()
    assert backlog.memory == 3 * UNIT
    assert [backlog.next_to_reduce().chunk.index[0] for _ in range(3)] == [0, 1, 2]
