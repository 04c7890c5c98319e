"""What a stream announces and what it brings: what fits passes unchanged, what does not is said in words."""

from __future__ import annotations

import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore import events, stream
from esteemcore.errors import ParameterError


def test_a_spec_counts_positions_and_pixels() -> None:
    spec = stream.Spec([3, np.int64(5)], (4, 13), "u2")
    assert (spec.positions, spec.pixels, spec.stored_shape) == (15, 52, (4, 13))
    assert not spec.one_bit
    assert spec == stream.Spec((3, 5), (4, 13), np.dtype(">u2"))  # the byte order of this machine
    assert spec.dtype.isnative
    assert hash(spec) == hash(stream.Spec((3, 5), (4, 13), np.uint16))
    assert pickle.loads(pickle.dumps(spec)) == spec


@given(ky=st.integers(1, 99), kx=st.integers(1, 999))
def test_a_packed_spec_has_the_shape_that_packing_gives(ky, kx) -> None:
    spec = stream.Spec((1, 1), (ky, kx), np.uint8, packed=True)
    assert spec.stored_shape == events.pack_bits(np.zeros((ky, kx), bool)).shape
    assert spec.pixels == ky * kx
    assert spec.one_bit
    assert stream.Spec((1, 1), (ky, kx), bool).one_bit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4,), (3, 5), "u1"), r"scan_shape is \(4,\); expected two positive integers"),
        (((4, 0), (3, 5), "u1"), "scan_shape"),
        (((4, 6), (3.5, 5), "u1"), "frame_shape"),
        (((4, 6), (3, 5), "counts"), "dtype is 'counts'; expected a numpy dtype"),
        (((4, 6), (3, 5), None), "dtype is None; expected a numpy dtype"),
        (((4, 6), (3, 5), {"a": 1}), "expected a numpy dtype"),
        (((4, 6), (3, 5), complex), "expected booleans, integers or real numbers"),
        (((4, 6), (3, 5), "M8[s]"), "expected booleans, integers or real numbers"),
        (((4, 6), (3, 5), "u2", True), "packed one-bit frames come as uint8, but dtype is uint16"),
    ],
)
def test_impossible_specs(arguments, message) -> None:
    with pytest.raises(ParameterError, match=message):
        stream.Spec(*arguments)


TABLE = events.EventTable([0, 1, 3], [14, 0, 2], [1, 1, 9])
FRAMES = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)


def test_a_chunk_keeps_what_it_is_given() -> None:
    chunk = stream.Chunk([7, 7], FRAMES, visit=2, time_s=[0, 1], position=[[1, 1.25], [0, 0]])
    assert len(chunk) == 2
    assert chunk.index.dtype == np.int64
    assert (chunk.time_s.dtype, chunk.position.dtype) == (np.float64, np.float64)
    assert np.shares_memory(chunk.frames, FRAMES)
    assert chunk.nbytes == 2 * 8 + 30 + 2 * 8 + 4 * 8
    assert stream.Chunk([0, 1], events=TABLE).nbytes == 2 * 8 + 3 * 8 + 3 * 4 + 3 * 2
    assert stream.Chunk([], np.zeros((0, 3, 5))).nbytes == 0


def test_frames_in_a_foreign_byte_order_are_turned_round() -> None:
    frames = np.arange(30).reshape(2, 3, 5)
    for dtype in (">u2", "<u2", ">i4", ">f4"):
        chunk = stream.Chunk([0, 1], frames.astype(dtype))
        assert chunk.frames.dtype.isnative
        np.testing.assert_array_equal(chunk.frames, frames)
        chunk.check(stream.Spec((1, 2), (3, 5), dtype))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": [0.0, 1.0], "frames": FRAMES}, "expected flat integer scan positions"),
        ({"index": [[0, 1]], "frames": FRAMES}, r"chunk index has shape \(1, 2\)"),
        ({"index": [0, 1]}, "exactly one of them"),
        ({"index": [0, 1], "frames": FRAMES, "events": TABLE}, "exactly one of them"),
        ({"index": [0], "frames": FRAMES}, "2 frames but 1 scan positions"),
        ({"index": [0, 1, 2], "events": TABLE}, "2 frames but 3 scan positions"),
        ({"index": [0, 1], "events": [14, 0]}, "events are of type list; expected an EventTable"),
        ({"index": [0, 1], "frames": FRAMES[0]}, r"frames have shape \(3, 5\); expected \(n, ky, kx\)"),
        ({"index": [0, 1], "frames": 3}, r"frames have shape \(\)"),
        ({"index": [0, 1], "frames": FRAMES, "visit": -1}, "visit is -1"),
        ({"index": [0, 1], "frames": FRAMES, "visit": 0.5}, "visit is 0.5"),
        ({"index": [0, 1], "frames": FRAMES, "time_s": [0.0]}, r"time_s has shape \(1,\); expected \(2,\)"),
        ({"index": [0, 1], "frames": FRAMES, "time_s": [0.0, np.nan]}, "time_s holds values that are not finite"),
        ({"index": [0, 1], "frames": FRAMES, "position": [0.0, 1.0]}, r"position has shape \(2,\); expected \(2, 2\)"),
        ({"index": [0, 1], "frames": FRAMES, "position": [[0, 0], [np.inf, 0]]}, "position holds values"),
    ],
)
def test_impossible_chunks(arguments, message) -> None:
    with pytest.raises(ParameterError, match=message):
        stream.Chunk(**arguments)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (stream.Chunk([0, 24], FRAMES), "index holds positions 0 to 24, but the scan has positions 0 to 23"),
        (stream.Chunk([-1, 0], FRAMES), "index holds positions -1 to 0"),
        (stream.Chunk([0, 1], FRAMES[:, :2]), r"shape \(2, 5\) and dtype uint8; this stream announced \(3, 5\)"),
        (stream.Chunk([0, 1], FRAMES.astype(np.int8)), "dtype int8; this stream announced .* of uint8"),
        (stream.Chunk([0, 1], events=events.EventTable([0, 0, 1], [15], [1])), "pixel 15, but the detector has 15"),
    ],
)
def test_chunks_that_the_stream_did_not_announce(spec, chunk, message) -> None:
    with pytest.raises(ParameterError, match=message):
        chunk.check(spec)


def test_packed_chunks_that_the_stream_did_not_announce() -> None:
    spec = stream.Spec((4, 6), (3, 13), np.uint8, packed=True)
    packed = events.pack_bits(np.ones((2, 3, 13), bool))
    stream.Chunk([0, 1], packed).check(spec)
    with pytest.raises(ParameterError, match=r"kx is 13, .* rows of 1 bytes"):
        stream.Chunk([0, 1], packed[..., :1]).check(spec)
    with pytest.raises(ParameterError, match=r"announced packed \(3, 2\) of uint8"):
        stream.Chunk([0, 1], packed[:, :2]).check(spec)


def test_electrons_are_found_once_and_forgotten_when_told() -> None:
    spec = stream.Spec((4, 6), (3, 13), np.uint8, packed=True)
    frames = np.random.default_rng(0).random((2, 3, 13)) < 0.3
    chunk = stream.Chunk([0, 1], events.pack_bits(frames))
    found = chunk.electrons(spec)
    np.testing.assert_array_equal(found.to_frames((3, 13)), frames)
    assert chunk.electrons(spec) is found
    chunk.forget_electrons()
    assert chunk.electrons(spec) is not found
    assert stream.Chunk([0, 1], events=TABLE).electrons(spec) is TABLE
    assert stream.Chunk([0, 1], FRAMES).electrons(stream.Spec((4, 6), (3, 5), np.uint8)) is None


def test_a_copy_shares_no_memory_with_the_buffers_of_the_giver() -> None:
    def arrays(chunk: stream.Chunk) -> list[np.ndarray]:
        table = chunk.events
        of_events = [] if table is None else [table.offset, table.pixel, table.count]
        return [a for a in (chunk.index, chunk.frames, chunk.time_s, chunk.position, *of_events) if a is not None]

    for content in ({"frames": FRAMES.copy()}, {"events": TABLE}):
        chunk = stream.Chunk(np.array([3, 1]), **content, visit=4, time_s=np.zeros(2), position=np.ones((2, 2)))
        copied = chunk.copy()
        assert copied.visit == 4
        assert len(arrays(copied)) == len(arrays(chunk))
        for old, new in zip(arrays(chunk), arrays(copied), strict=True):
            np.testing.assert_array_equal(old, new)
            assert not np.shares_memory(old, new)


@given(
    order=st.none() | st.lists(st.integers(0, 11), max_size=40),
    size=st.integers(1, 50),
    packed=st.booleans(),
    turned=st.booleans(),
)
def test_cutting_brings_every_frame_once_and_in_the_order_of_visits(order, size, packed, turned) -> None:
    frames = np.random.default_rng(1).random((4, 3, 2, 11)) < 0.5
    if turned:  # data whose axes lie the other way round in memory
        frames = np.ascontiguousarray(frames.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    data = events.pack_bits(frames) if packed else frames
    pieces = list(stream.chunks(data, order=order, size=size, packed_kx=11 if packed else None))
    visits = list(range(12)) if order is None else order
    assert [i for piece in pieces for i in piece.index] == visits
    assert [len(piece) for piece in pieces] == [min(size, len(visits) - i) for i in range(0, len(visits), size)]
    got = [frame for piece in pieces for frame in piece.frames]
    expected = [data[i // 3, i % 3] for i in visits]
    np.testing.assert_array_equal(np.array(got), np.array(expected))


def test_cutting_is_lazy_but_checks_at_once(data) -> None:
    for arguments, message in (
        ({"data": data[0]}, "expected four axes"),
        ({"data": data[:0]}, "none of them empty"),
        ({"data": data, "order": [0, 24]}, "order holds positions 0 to 24, but the scan has positions 0 to 23"),
        ({"data": data, "order": [[0, 1]]}, "order has shape"),
        ({"data": data, "size": 0}, "size is 0"),
        ({"data": data, "packed_kx": 16}, "kx is 16, which packs into rows of 2 bytes"),
    ):
        with pytest.raises(ParameterError, match=message):
            stream.chunks(**arguments)
    order = np.array([3, 1, 2])
    pieces = stream.chunks(data, order=order, size=1)
    assert next(pieces).index.tolist() == [3]
    order[:] = 0  # the giver may use its array again
    assert [piece.index.tolist() for piece in pieces] == [[1], [2]]


def test_times_are_numbers() -> None:
    with pytest.raises(ParameterError, match="chunk time_s is"):
        stream.Chunk([1], np.zeros((1, 3, 3)), time_s=["soon"])
