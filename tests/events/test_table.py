"""Event tables hold exactly the electrons of the frames, in order, and refuse what cannot be electrons."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore import events
from esteemcore.errors import ParameterError

DENSITIES = (0.0, 0.0005, 0.01, 0.1, 0.5, 0.95, 1.0)


def twin(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the electrons with NumPy alone."""
    n, _, kx = frames.shape
    frame, row, column = np.nonzero(frames)
    offset = np.concatenate([[0], np.cumsum(np.bincount(frame, minlength=n))]) if n else np.zeros(1, int)
    return offset, row * kx + column, frames[frame, row, column]


def twin_packed(packed: np.ndarray, kx: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return twin(np.unpackbits(packed, axis=-1, bitorder="little")[..., :kx])


def assert_table(table: events.EventTable, expected: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    for name, values, dtype in zip(("offset", "pixel", "count"), expected, ("i8", "u4", "u2"), strict=True):
        array = getattr(table, name)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, values, err_msg=name)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 13), (5, 3, 24), (4, 7, 8), (2, 64, 64), (3, 33, 72), (2, 19, 261), (0, 4, 16)]
)
def test_packed_frames_of_any_size_and_density(shape, density) -> None:
    frames = np.random.default_rng(int(1e4 * density)).random(shape) < density
    packed = events.pack_bits(frames)
    assert_table(events.events_from_packed(packed, shape[-1]), twin_packed(packed, shape[-1]))


@given(
    shape=st.tuples(st.integers(0, 6), st.integers(1, 12), st.integers(1, 150)),
    density=st.sampled_from(DENSITIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_frames(shape, density, seed) -> None:
    n, ky, kx = shape
    rng = np.random.default_rng(seed)
    packed = events.pack_bits(rng.random(shape) < density)
    assert_table(events.events_from_packed(packed, kx), twin_packed(packed, kx))
    wide = rng.integers(0, 256, (2 * n, ky, packed.shape[-1] + 1), np.uint8)  # also bits after the last pixel
    view = wide[::-2, ::-1, 1:]
    assert_table(events.events_from_packed(view, kx), twin_packed(view, kx))


@pytest.mark.parametrize(("ky", "kx"), [(5, 27), (9, 64), (3, 8), (1, 65)])
def test_every_single_pixel_is_found_where_it_is(ky, kx) -> None:
    frames = np.eye(ky * kx, dtype=bool).reshape(-1, ky, kx)
    table = events.events_from_packed(events.pack_bits(frames), kx)
    np.testing.assert_array_equal(table.pixel, np.arange(ky * kx))
    np.testing.assert_array_equal(table.offset, np.arange(ky * kx + 1))
    np.testing.assert_array_equal(table.to_frames((ky, kx)), frames)


def test_a_beam_that_comes_on_late() -> None:
    """Room for events is guessed from earlier frames; here the guess is far too small, again and again."""
    packed = np.zeros((300, 24, 8), np.uint8)
    packed[100, 3, 3] = 16
    packed[150:] = 255
    packed[200:250] = np.random.default_rng(4).integers(0, 256, (50, 24, 8), np.uint8)
    assert_table(events.events_from_packed(packed, 64), twin_packed(packed, 64))


def test_packed_frames_are_refused_in_words() -> None:
    packed = np.zeros((2, 4, 3), np.uint8)
    with pytest.raises(ParameterError, match="kx is 16, which packs into rows of 2 bytes"):
        events.events_from_packed(packed, 16)
    with pytest.raises(ParameterError, match=r"kx is 24\.0"):
        events.events_from_packed(packed, 24.0)
    with pytest.raises(ParameterError, match="dtype int64"):
        events.events_from_packed(packed.astype(np.int64), 24)
    for wrong in (packed[0], packed[None], packed[:, :0]):
        with pytest.raises(ParameterError, match=r"expected \(n, ky, kx/8\)"):
            events.events_from_packed(wrong, 24)


@given(
    frames=hnp.arrays(
        st.sampled_from(["?", "u1", "i1", "<u2", ">u2", "<i4", ">i4", "u8"]).map(np.dtype),
        st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 9)),
        fill=st.just(0),
    )
)
def test_counting_frames(frames) -> None:
    if frames.size and (frames.min() < 0 or frames.max() > 65535):
        with pytest.raises(ParameterError, match="expected counts of 0 to 65535"):
            events.events_from_frames(frames)
        return
    table = events.events_from_frames(frames)
    assert_table(table, twin(frames))
    np.testing.assert_array_equal(table.to_frames(frames.shape[1:]), frames)
    assert len(table) == len(frames)


def test_counting_frames_in_any_memory_order() -> None:
    frames = np.random.default_rng(5).poisson(0.5, (6, 5, 7)).astype(np.uint16)
    for view in (frames[::-2], frames[:, ::-1, ::3], np.asfortranarray(frames)):
        assert_table(events.events_from_frames(view), twin(view))
    largest = np.full((1, 1, 1), 65535)
    assert events.events_from_frames(largest).count[0] == 65535


def test_frames_that_hold_no_counts_are_refused_in_words() -> None:
    for bad in (np.zeros((2, 3, 3)), np.zeros((3, 3), int), np.zeros((1, 1, 1), complex)):
        with pytest.raises(ParameterError, match=r"expected integers or booleans \(n, ky, kx\)"):
            events.events_from_frames(bad)
    with pytest.raises(ParameterError, match="frames hold -1 to 0"):
        events.events_from_frames(np.array([[[-1, 0]]]))
    with pytest.raises(ParameterError, match="frames hold 0 to 65536"):
        events.events_from_frames(np.array([[[65536, 0]]]))


def test_repeated_pixels_add_up_in_frames() -> None:
    table = events.EventTable([0, 3, 3, 4], [5, 0, 5, 2], [1, 2, 65535, 7])
    frames = table.to_frames((2, 3))
    assert frames.dtype == np.uint32
    np.testing.assert_array_equal(frames.reshape(3, 6), [[2, 0, 0, 0, 0, 65536], [0] * 6, [0, 0, 7, 0, 0, 0]])
    with pytest.raises(ParameterError, match="an event lies in pixel 5, but frames of 1 x 5 have 5 pixels"):
        table.to_frames((1, 5))
    with pytest.raises(ParameterError, match="frame_shape"):
        table.to_frames((6,))
    assert events.EventTable([0], [], []).to_frames((2, 3)).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("offset", "pixel", "count", "message"),
    [
        ([], [], [], "offsets must start at 0"),
        ([1, 2], [0, 0], [1, 1], "offsets must start at 0"),
        ([0, 1], [0, 0], [1, 1], r"end at the number of rows \(2\)"),
        ([0, 3], [0, 0], [1, 1], r"end at the number of rows \(2\)"),
        ([0, 2, 1, 2], [0, 0], [1, 1], "never fall"),
        (np.array([0, 2, 1, 2], np.uint64), [0, 0], [1, 1], "never fall"),
        (np.array([0, 2**64 - 1, 2], np.uint64), [0, 0], [1, 1], "never fall"),
        ([0, -1, 2], [0, 0], [1, 1], "never fall"),
        ([0, 2], [0, 0], [1], "1 counts for 2 event pixels"),
        ([0, 1], [-1], [1], "pixel holds -1 to -1; expected 0 to 4294967295"),
        ([0, 1], [2**32], [1], "pixel holds 4294967296"),
        ([0, 1], [0], [65536], "count holds 65536 to 65536; expected 0 to 65535"),
        ([0, 1], [0], [-1], "count holds -1"),
        ([0, 1], [0.5], [1], "event pixel has .*float64; expected a flat list of integers"),
        ([0.0, 1.0], [0], [1], "event offset has .*float64"),
        ([0, 1], [[0]], [1], r"event pixel has shape \(1, 1\)"),
        ([0, 1], [0], [True], "event count has .*bool"),
    ],
)
def test_impossible_tables_are_refused_in_words(offset, pixel, count, message) -> None:
    with pytest.raises(ParameterError, match=message):
        events.EventTable(offset, pixel, count)


def test_a_table_takes_any_integers() -> None:
    table = events.EventTable([0, 0, 2], np.array([7, 3], ">i8"), np.array([1, 65535], np.uint64)[::-1])
    assert_table(table, (np.array([0, 0, 2]), np.array([7, 3]), np.array([65535, 1])))
    assert len(table) == 2
