"""Any reducer as a user-defined function of LiberTEM, so that its readers, cameras and executors serve us."""

from __future__ import annotations

from typing import Any

from esteemcore._core.errors import DependencyError
from esteemcore.stream.protocols import Reducer


def as_udf(reducer: Reducer[Any, Any]) -> Any:
    """Return a reducer as a UDF of LiberTEM.

    ``context.run_udf(dataset=..., udf=stream.as_udf(reducer))["result"].data[0]`` is the result, by the laws of
    reducers the same as that of `run` on the same frames, on any executor; with a region of interest that of the frames
    in it. The data set has two scan axes and two detector axes. Needs the extra ``distributed``.

    Parameters
    ----------
    reducer : Reducer
        What to make of the frames.

    Returns
    -------
    libertem.udf.UDF
        With one result, ``"result"``: an array of one object.

    Raises
    ------
    DependencyError
        If LiberTEM is not installed.
    """
    try:
        from esteemcore.stream.libertem_udf import ReducerUDF
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "libertem":
            raise
        raise DependencyError("LiberTEM", "distributed") from error
    return ReducerUDF(reducer=reducer)
