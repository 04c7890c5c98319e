"""Chunks through reducers on the workers of dask.distributed: the source travels, the frames do not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.stream.protocols import Reducer, Source
from esteemcore.stream.spec import Spec

Reducers = Mapping[str, Reducer[Any, Any]]
Dumps = dict[str, dict[str, NDArray[Any]]]

FAN_IN = 8
"""States that are merged at once."""


def run_dask(
    reducers: Mapping[str, Reducer[Any, Any]],
    source: Source,
    *,
    client: Any = None,
    frames_per_task: int = 8192,
    size: int = 1024,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> dict[str, Any]:
    """Send every chunk of a source through every reducer on the workers of a Dask cluster and return the results.

    Each task opens the source where it runs and reduces its range of frames; states are merged in a tree on the
    workers, and one state per reducer comes back. By the laws of reducers the results are those of `run`. Dask
    schedules the tasks, repeats what a lost worker had, and moves states. Needs the extra ``distributed``.

    Parameters
    ----------
    reducers : mapping of str to Reducer
        What to make, by name.
    source : Source
        Where the frames come from, e.g. `esteemcore.io.source` of a path that all workers can read.
    client : distributed.Client, optional
        The cluster. Default: the client that was made last.
    frames_per_task : int
        Frames that a task reduces.
    size : int
        Frames in a chunk.
    progress : callable, optional
        Called with the fraction of the frames done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError` when the next task is done.

    Returns
    -------
    dict
        The results by name.

    Raises
    ------
    DependencyError
        If dask.distributed is not installed.
    ParameterError
        If there is no client.
    """
    try:
        import distributed
    except ImportError as error:
        raise DependencyError("dask.distributed", "distributed") from error
    frames_per_task = checks.integer("frames_per_task", frames_per_task, minimum=1)
    size = checks.integer("size", size, minimum=1)
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ParameterError("there is no Dask client; make one first, e.g. distributed.Client()") from None
    reducers, spec, n = dict(reducers), source.spec, len(source)
    for reducer in reducers.values():
        reducer.init(spec)  # what does not fit the stream is told here, not on a worker
    parts = [(a, min(a + frames_per_task, n)) for a in range(0, n, frames_per_task)] or [(0, 0)]
    futures = [client.submit(reduce_part, reducers, source, a, b, size, pure=False) for a, b in parts]
    pending = list(futures)
    steps = Progress(n, progress, cancel)
    try:
        frames = {future.key: b - a for future, (a, b) in zip(futures, parts, strict=True)}
        while len(pending) > 1:
            groups = [pending[i : i + FAN_IN] for i in range(0, len(pending), FAN_IN)]
            pending = [client.submit(merge_parts, reducers, spec, group, pure=False) for group in groups]
        for future in distributed.as_completed(futures):
            future.result()
            steps.step(frames[future.key])
        dumps: Dumps = pending[0].result()
    finally:
        client.cancel([*futures, *pending])
    results = {name: reducer.result(reducer.load(spec, dumps[name])) for name, reducer in reducers.items()}
    steps.finish()
    return results


def reduce_part(reducers: Reducers, source: Source, start: int, stop: int, size: int) -> Dumps:
    """Return the dumped states of frames ``start`` to ``stop``; runs on a worker."""
    spec = source.spec
    states = {name: reducer.init(spec) for name, reducer in reducers.items()}
    for chunk in source.chunks(start, stop, size):
        for name, reducer in reducers.items():
            reducer.update(states[name], chunk)
    return {name: reducer.dump(states[name]) for name, reducer in reducers.items()}


def merge_parts(reducers: Reducers, spec: Spec, parts: list[Dumps]) -> Dumps:
    """Return the dumped states of the frames of all parts; runs on a worker."""
    merged: Dumps = {}
    for name, reducer in reducers.items():
        state = reducer.load(spec, parts[0][name])
        for part in parts[1:]:
            state = reducer.merge(state, reducer.load(spec, part[name]))
        merged[name] = reducer.dump(state)
    return merged
