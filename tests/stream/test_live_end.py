"""How a live run ends: finished, aborted, by an exception, by the end of the program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from esteemcore import stream
from esteemcore.errors import CancelledError, ReducerError, StreamError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def test_finish_twice_and_from_many_threads(rig, position_sum, spec, data) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    runner = stream.LiveRunner({"a": gated}, spec, store=store)
    rig.put_all(runner, stream.chunks(data, size=4))
    joins = [rig.in_thread(runner.finish) for _ in range(4)]
    gated.may_go.set()
    for join in joins:
        rig.assert_results(join()["a"], data, range(24))
    rig.assert_results(runner.finish()["a"], data, range(24))
    assert store.flushes == 1
    runner.abort()  # too late to change anything
    rig.assert_results(runner.finish()["a"], data, range(24))


def test_no_frame_is_taken_after_the_end(position_sum, spec, data) -> None:
    runner = stream.LiveRunner({"a": position_sum}, spec, store=None)
    runner.finish()
    with pytest.raises(StreamError, match="this run has ended; start a new one"):
        runner.put(next(stream.chunks(data)))
    assert runner.status.acquired == 0
    assert not runner.finish()["a"]["visits"].any()


def test_puts_that_race_with_finish_are_taken_whole_or_not_at_all(rig, position_sum, spec, data) -> None:
    for _ in range(20):
        store = rig.SpyStore()
        runner = stream.LiveRunner({"a": position_sum}, spec, store=store)
        said = rig.in_thread(lambda runner=runner: rig.put_all(runner, stream.chunks(data, size=1)))
        results = runner.finish()
        taken = 24 - len(said())
        rig.assert_results(results["a"], data, range(taken))
        rig.assert_frames(store.frames, data, range(taken))


def test_abort_stores_everything_and_reduces_no_more(rig, position_sum, spec, data) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    store.may_append.clear()
    runner = stream.LiveRunner({"a": gated}, spec, store=store)
    rig.put_all(runner, stream.chunks(data, size=2))
    assert gated.entered.wait(rig.PATIENCE_S)
    abort = rig.in_thread(runner.abort)
    rig.wait_until_ended(runner, spec)
    store.may_append.set()
    rig.wait_until(lambda: runner.status.stored == 24)
    gated.may_go.set()
    abort()
    rig.assert_frames(store.frames, data, range(24))
    assert store.flushes == 1
    assert gated.seen == [0, 1]  # the chunk that was being reduced
    assert runner.status.memory_bytes == 0
    with pytest.raises(CancelledError, match="after 2 of 24 frames"):
        runner.finish()
    runner.abort()


def test_abort_ends_a_finish_that_takes_too_long(rig, position_sum, spec, data) -> None:
    gated, store = rig.Gated(position_sum, opened=False), rig.SpyStore()
    runner = stream.LiveRunner({"a": gated}, spec, store=store)
    rig.put_all(runner, stream.chunks(data, size=2))
    assert gated.entered.wait(rig.PATIENCE_S)
    finish = rig.in_thread(runner.finish)
    rig.wait_until_ended(runner, spec)
    abort = rig.in_thread(runner.abort)
    one = next(stream.chunks(data, size=2)).nbytes
    rig.wait_until(lambda: runner.status.memory_bytes == one)  # only what is being reduced
    gated.may_go.set()
    abort()
    with pytest.raises(CancelledError):
        finish()
    rig.assert_frames(store.frames, data, range(24))


def test_with_finishes(rig, position_sum, spec, data) -> None:
    store = rig.SpyStore()
    with stream.LiveRunner({"a": position_sum}, spec, store=store) as runner:
        rig.put_all(runner, stream.chunks(data))
    rig.assert_results(runner.finish()["a"], data, range(24))
    rig.assert_frames(store.frames, data, range(24))

    def acquire_with_a_broken_reducer() -> None:
        with stream.LiveRunner({"a": rig.Gated(position_sum, fail_at=0)}, spec, store=None) as runner:
            runner.put(next(stream.chunks(data)))

    with pytest.raises(ReducerError, match="'a' failed"):
        acquire_with_a_broken_reducer()


@pytest.mark.parametrize("fail_at", [None, 0])
def test_with_aborts_on_another_error_and_says_what_was_not_stored(rig, position_sum, spec, data, fail_at) -> None:
    store, runners = rig.SpyStore(fail_at=fail_at), []

    def acquire() -> None:
        with stream.LiveRunner({"a": position_sum}, spec, store=store) as runner:
            runners.append(runner)
            rig.put_all(runner, stream.chunks(data))
            raise KeyError("camera")

    with pytest.raises(KeyError, match="camera") as caught:
        acquire()
    notes = getattr(caught.value, "__notes__", [])
    if fail_at is None:
        assert notes == []
        rig.assert_frames(store.frames, data, range(24))
        with pytest.raises(CancelledError):
            runners[0].finish()
    else:
        assert len(notes) == 1
        assert "0 of 24 frames were taken by the file" in notes[0]
        assert len(runners[0].unsaved) == 1


def test_with_after_an_abort_speaks_of_the_store_only(rig, spec, data) -> None:
    def acquire(store: Any) -> None:
        with stream.LiveRunner({}, spec, store=store) as runner:
            rig.put_all(runner, stream.chunks(data))
            runner.abort()

    acquire(rig.SpyStore())
    with pytest.raises(StreamError, match="cannot be stored"):
        acquire(rig.SpyStore(fail_at=0))


def test_frames_are_stored_although_the_program_ends_without_finish(tmp_path) -> None:
    program = """
        import sys, time
        import numpy as np
        from esteemcore import stream

        class Slow:
            def append(self, chunk):
                time.sleep(0.02)
                with open(sys.argv[1], "ab") as file:
                    file.write(chunk.frames.tobytes())

            def flush(self):
                with open(sys.argv[1], "ab") as file:
                    file.write(b"end")

        spec = stream.Spec((1, 20), (1, 1), np.uint8)
        runner = stream.LiveRunner({}, spec, store=Slow())
        for i in range(20):
            runner.put(stream.Chunk([i], np.full((1, 1, 1), i, np.uint8)))
    """
    path = tmp_path / "raw"
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=True, timeout=60)
    assert path.read_bytes() == bytes(range(20)) + b"end"
