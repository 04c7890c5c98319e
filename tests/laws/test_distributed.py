"""One result, wherever the work is done: the plain driver, dask.distributed and LiberTEM, for every reducer."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from known_reducers import FRAME, REDUCERS, SCAN

from esteemcore import diffraction, errors, fourd, io, stream

# the engines warn about their own surroundings: old interfaces of their libraries, sockets that are closed late
pytestmark = pytest.mark.filterwarnings("ignore")


def needs(module: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(absent, reason=f"{module} is not installed: the extra distributed of nionswift-esteem")


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.4, (*SCAN, *FRAME))
    counts[..., 6:10, 6:10] += rng.poisson(3, (*SCAN, 4, 4))
    return counts.astype(np.uint16)


SPEC = stream.Spec(SCAN, FRAME, np.dtype(np.uint16))


@pytest.fixture(scope="module")
def expected(data) -> dict[str, Any]:
    return stream.run(REDUCERS, SPEC, stream.chunks(data))


def assert_results(found: Any, expected: Any) -> None:
    """Equal: the data are whole numbers."""
    compared = 0
    for name, value in vars(expected).items():
        other = getattr(found, name)
        arrays = value.items() if isinstance(value, dict) else [("", value)]
        for key, array in arrays:
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(other[key] if key else other, array, err_msg=f"{name} {key}")
                compared += array.size > 0
    assert compared >= 2


@pytest.fixture(scope="module")
def client():
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def source(data, tmp_path_factory) -> io.FrameSource:
    """A file of frames in random order, some of them twice."""
    path = tmp_path_factory.mktemp("data") / "frames.esteem"
    order = np.random.default_rng(4).permutation(np.append(np.arange(12), [3, 7]))
    with io.Writer(path, SPEC, block=4) as writer:
        for chunk in stream.chunks(data, order=order, size=5):
            writer.append(chunk)
    return io.source(path)


@needs("distributed")
def test_dask_gives_the_same_results(client, source) -> None:
    assert len(pickle.dumps(source)) < 5000  # the path travels, the frames do not
    expected = stream.run(REDUCERS, source.spec, source.chunks())
    seen: list[float] = []
    found = stream.run_dask(REDUCERS, source, client=client, frames_per_task=2, size=2, progress=seen.append)
    for name in REDUCERS:
        assert_results(found[name], expected[name])
    assert seen == sorted(seen)
    assert seen[-1] == 1
    again = stream.run_dask({"s": fourd.FrameStatistics()}, source)  # the client that was made last, one task
    assert_results(again["s"], expected["FrameStatistics"])


@needs("distributed")
def test_dask_is_stopped_and_tells_what_went_wrong(client, source, tmp_path) -> None:
    import threading

    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.CancelledError):
        stream.run_dask({"s": fourd.FrameStatistics()}, source, client=client, cancel=cancel)
    with pytest.raises(errors.ParameterError, match="do not fit on frames of 16 x 16"):
        stream.run_dask({"d": diffraction.Disks(9.0)}, source, client=client)
    with pytest.raises(errors.ParameterError, match="frames_per_task"):
        stream.run_dask({}, source, client=client, frames_per_task=0)


@needs("distributed")
def test_without_a_cluster_there_is_a_word(source, monkeypatch) -> None:
    import distributed

    def none() -> None:
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", none)
    with pytest.raises(errors.ParameterError, match=r"make one first, e\.g\. distributed\.Client"):
        stream.run_dask({}, source)


@needs("libertem")
@pytest.mark.parametrize("name", REDUCERS)
def test_libertem_gives_the_same_results(name, data, expected) -> None:
    from libertem.api import Context

    context = Context.make_with("inline")
    dataset = context.load("memory", data=data, sig_dims=2, num_partitions=4)
    found = context.run_udf(dataset=dataset, udf=stream.as_udf(REDUCERS[name]))["result"].data[0]
    assert_results(found, expected[name])


@needs("libertem")
def test_libertem_on_processes_and_on_some_positions(client, data, tmp_path) -> None:
    """Two reducers in one run over a file, on Dask workers, on the frames of a region of interest."""
    from libertem.api import Context
    from libertem.executor.dask import DaskJobExecutor

    region = np.random.default_rng(5).random(SCAN) < 0.6
    expected = stream.run(REDUCERS, SPEC, stream.chunks(data, order=np.flatnonzero(region)))
    np.save(tmp_path / "frames.npy", data)
    context = Context(executor=DaskJobExecutor(client))
    dataset = context.load("npy", path=tmp_path / "frames.npy")
    names = ("Disks", "FrameStatistics")
    results = context.run_udf(dataset=dataset, udf=[stream.as_udf(REDUCERS[n]) for n in names], roi=region)
    for name, result in zip(names, results, strict=True):
        assert_results(result["result"].data[0], expected[name])


@needs("libertem")
def test_libertem_data_without_a_scan_are_refused() -> None:
    from libertem.api import Context

    context = Context.make_with("inline")
    dataset = context.load("memory", data=np.zeros((12, 16, 16), np.uint16), sig_dims=2)
    with pytest.raises(errors.ParameterError, match="two scan axes"):
        context.run_udf(dataset=dataset, udf=stream.as_udf(fourd.FrameStatistics()))


def test_what_is_missing_is_said(monkeypatch, source) -> None:
    for module in ("distributed", "libertem", "libertem.udf"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "esteemcore.stream.libertem_udf", raising=False)
    with pytest.raises(errors.DependencyError, match=r"dask.distributed is not .*nionswift-esteem\[distributed\]"):
        stream.run_dask({}, source)
    with pytest.raises(errors.DependencyError, match=r"LiberTEM is not installed.*nionswift-esteem\[distributed\]"):
        stream.as_udf(fourd.FrameStatistics())
