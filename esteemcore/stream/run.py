"""The plain driver: chunks one after the other through all reducers, in this thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.stream.chunk import Chunk
from esteemcore.stream.protocols import Reducer
from esteemcore.stream.spec import Spec


def run(
    reducers: Mapping[str, Reducer[Any, Any]],
    spec: Spec,
    chunks: Iterable[Chunk],
    *,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> dict[str, Any]:
    """Send every chunk through every reducer and return the results.

    Parameters
    ----------
    reducers : mapping of str to Reducer
        What to make, by name.
    spec : Spec
        What the chunks hold.
    chunks : iterable of Chunk
        The frames, in any order.
    progress : callable, optional
        Called with the fraction of the scan positions done, 0 to 1; 1 at the end, also of a sparse scan.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError` before the next chunk.

    Returns
    -------
    dict
        The results by name.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import fourd, stream
    >>> data = np.ones((2, 3, 8, 8), np.uint8)
    >>> spec = stream.Spec((2, 3), (8, 8), np.uint8)
    >>> stream.run({"stat": fourd.FrameStatistics()}, spec, stream.chunks(data))["stat"].sum
    array([[64., 64., 64.],
           [64., 64., 64.]])
    """
    steps = Progress(spec.positions, progress, cancel)
    states = {name: reducer.init(spec) for name, reducer in reducers.items()}
    for chunk in chunks:
        steps.step(0)
        for name, reducer in reducers.items():
            reducer.update(states[name], chunk)
        steps.step(len(chunk))
    results = {name: reducer.result(states[name]) for name, reducer in reducers.items()}
    steps.finish()
    return results
