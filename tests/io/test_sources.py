from __future__ import annotations

import pickle

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esteemcore import events, fourd, io, stream
from esteemcore.errors import FormatError, ParameterError


def frame_axes(*sizes):
    names = ("frame", "ky", "kx") if len(sizes) == 3 else ("y", "x", "ky", "kx")
    return tuple(io.Axis(name, size) for name, size in zip(names, sizes, strict=True))


@pytest.fixture
def container(tmp_path, rng):
    frames = (rng.random((300, 8, 13)) < 0.1).astype(np.uint8)
    index, position = rng.integers(0, 60, 300), rng.random((300, 2))
    spec = stream.Spec((6, 10), (8, 13), np.uint8, packed=True)
    with io.Writer(tmp_path / "a.esteem", spec, block=37) as writer:
        for number, part in enumerate((slice(0, 100), slice(100, 250), slice(250, 300))):
            writer.append(
                stream.Chunk(
                    index[part],
                    events.pack_bits(frames[part]),
                    visit=number,
                    position=position[part] if number else None,
                )
            )
    return tmp_path / "a.esteem", frames, index, position


def test_a_container_as_a_source(container):
    path, frames, index, position = container
    source = io.source(path)
    assert isinstance(source, stream.Source)
    assert (len(source), source.spec) == (300, stream.Spec((6, 10), (8, 13), np.uint8, packed=True))
    again = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 2000
    for made, (start, stop, size) in ((source, (0, None, 1024)), (again, (90, 260, 7)), (again, (5, 5, 3))):
        chunks = list(made.chunks(start, stop, size))
        stop = 300 if stop is None else stop
        assert sum(map(len, chunks)) == stop - start
        at = start
        for chunk in chunks:
            part = slice(at, at + len(chunk))
            np.testing.assert_array_equal(chunk.frames, events.pack_bits(frames[part]))
            np.testing.assert_array_equal(chunk.index, index[part])
            assert chunk.visit == (0 if at < 100 else 1 if at < 250 else 2)
            if at < 100:
                assert chunk.position is None
            else:
                np.testing.assert_array_equal(chunk.position, position[part])
            assert len(chunk) <= size
            at += len(chunk)


def test_a_range_of_frames(container):
    path, _, index, _ = container
    source = pickle.loads(pickle.dumps(io.source(path, start=40, stop=110)))
    assert len(source) == 70
    np.testing.assert_array_equal(np.concatenate([c.index for c in source.chunks(5, 65, 11)]), index[45:105])
    for wrong in ({"start": 400}, {"stop": 400}, {"start": 10, "stop": 5}):
        with pytest.raises(ParameterError, match=r"expected an integer"):
            io.source(path, **wrong)
    with pytest.raises(ParameterError, match="expected an integer"):
        source.chunks(0, 71)


def test_reducers_take_it(container):
    path, frames, index, _ = container
    source = io.source(path)
    result = stream.run({"stat": fourd.FrameStatistics()}, source.spec, source.chunks())["stat"]
    expected = np.zeros(60)
    np.add.at(expected, index, frames.sum((1, 2)))
    np.testing.assert_array_equal(np.asarray(result.visits).ravel(), np.bincount(index, minlength=60))
    assert np.asarray(result.mean).sum() == pytest.approx(frames.sum() / 300)


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 4), size=st.integers(1, 9), data=st.data())
def test_image_order_is_raster(shape, size, data):
    n = shape[0] * shape[1]
    array = np.arange(np.prod(shape)).reshape(shape).astype(">u2")
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    for given_data in (array, dask.array.from_array(array, chunks=2)):
        source = io.source(io.Dataset({"frames": io.Signal(given_data, frame_axes(*shape), frame_shape=shape[2:])}))
        assert source.spec == stream.Spec(shape[:2], shape[2:], np.uint16)
        chunks = list(source.chunks(start, stop, size))
        if start < stop:
            frames = np.concatenate([chunk.frames for chunk in chunks])
            np.testing.assert_array_equal(frames, array.reshape(n, *shape[2:])[start:stop])
            np.testing.assert_array_equal(np.concatenate([chunk.index for chunk in chunks]), np.arange(start, stop))
        for chunk in chunks:
            chunk.check(source.spec)


def test_signals_that_are_no_frames(tmp_path):
    image = io.Signal(np.ones((2, 3)), (io.Axis("y", 2), io.Axis("x", 3)))
    frames = io.Signal(np.ones((4, 2, 3)), frame_axes(4, 2, 3), frame_shape=(2, 3))
    with pytest.raises(ParameterError, match="holds no detector frames; its signals: adf: float64, y 2 x x 3"):
        io.source(io.Dataset({"adf": image}))
    cube = io.Signal(np.ones((2, 3, 4, 4)), frame_axes(2, 3, 4, 4))
    with pytest.raises(ParameterError, match=r"if one is made of frames, save it as io.Signal\(.* frame_shape="):
        io.source(io.Dataset({"cube": cube}))
    with pytest.raises(ParameterError, match="name one"):
        io.source(io.Dataset({"a": frames, "b": frames}))
    with pytest.raises(ParameterError, match="no signal 'c'"):
        io.source(io.Dataset({"a": frames}), "c")
    with pytest.raises(ParameterError, match="options are for files"):
        io.source(io.Dataset({"a": frames}), scan_shape=(2, 2))
    source = io.source(io.Dataset({"a": frames, "b": frames, "adf": image}), "b")
    assert source.spec.scan_shape == (1, 4)


def test_a_file_that_changed_meanwhile(container, tmp_path):
    path, *_ = container
    travelling = pickle.dumps(io.source(path))
    io.Writer(path, stream.Spec((6, 10), (8, 13), np.uint8, packed=True), overwrite=True).close()
    with pytest.raises(FormatError, match="has changed"):
        list(pickle.loads(travelling).chunks())
