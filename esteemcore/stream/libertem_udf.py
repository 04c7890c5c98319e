"""The UDF of LiberTEM that carries a reducer; imported only where LiberTEM is wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
from libertem.udf import UDF
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.stream.chunk import Chunk
from esteemcore.stream.spec import Spec


class ReducerUDF(UDF):  # type: ignore[misc]
    """Reduce each partition to a dumped state, merge these, and conclude at the end."""

    def get_result_buffers(self) -> dict[str, Any]:
        """Return the buffers: one object for the state, one for the result."""
        return {
            "state": self.buffer(kind="single", dtype=object, use="private"),
            "result": self.buffer(kind="single", dtype=object, use="result_only"),
        }

    def get_preferred_input_dtype(self) -> Any:
        """Return that frames are wanted as they are."""
        return self.USE_NATIVE_DTYPE

    def get_backends(self) -> tuple[Any, ...]:
        """Return that frames are wanted as plain arrays."""
        return (self.BACKEND_NUMPY,)

    def _spec(self) -> Spec:
        """Return the stream that the data set is."""
        shape = tuple(self.meta.dataset_shape)
        if len(shape) != 4:
            raise ParameterError(f"the data set has shape {shape}; expected two scan axes and two detector axes")
        return Spec(shape[:2], shape[2:], np.dtype(self.meta.input_dtype))

    def process_partition(self, partition: NDArray[Any]) -> None:
        """Reduce the frames of a partition."""
        spec, reducer = self._spec(), self.params.reducer
        place = np.asarray(self.meta.coordinates, np.int64)
        state = reducer.init(spec)
        frames = np.asarray(partition).reshape(-1, *spec.frame_shape)
        reducer.update(state, Chunk(place[:, 0] * spec.scan_shape[1] + place[:, 1], frames))
        self.results.state[0] = self._joined(self.results.state[0], reducer.dump(state))

    def merge(self, dest: Any, src: Any) -> None:
        """Merge the states of two partitions."""
        dest.state[0] = self._joined(dest.state[0], src.state[0])

    def _joined(self, a: Any, b: Any) -> Any:
        """Return the dumped state of the frames of both; a buffer that has not been written holds 0 or None."""
        if not isinstance(a, dict) or not isinstance(b, dict):
            return a if isinstance(a, dict) else b
        spec, reducer = self._spec(), self.params.reducer
        return reducer.dump(reducer.merge(reducer.load(spec, a), reducer.load(spec, b)))

    def get_results(self) -> dict[str, Any]:
        """Return the result of the frames so far."""
        spec, reducer = self._spec(), self.params.reducer
        dump = self.results.state[0]
        state = reducer.load(spec, dump) if isinstance(dump, dict) else reducer.init(spec)
        result = np.empty(1, object)
        result[0] = reducer.result(state)
        return {"result": result}
