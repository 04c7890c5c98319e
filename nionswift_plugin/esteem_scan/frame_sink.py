"""Where the frames of a synchronized acquisition go: to a taker, with the positions at which they were taken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.instrumentation import Acquisition
from numpy.typing import NDArray

from esteemcore import stream
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan


class FrameSink(Acquisition.DataChannel):
    """Turn what Nion delivers in time order into chunks, also over several frames of a series.

    Nothing is raised into Nion's loop, which would hide the reason: it goes to ``failed`` and the frames that still
    come are offered all the same.

    Parameters
    ----------
    camera_id : str
        Hardware source whose frames are wanted; what the scan device measures is left.
    order : ScanPlan
        As `nionswift_plugin.esteem_scan.scan_plan.synchronized` made it.
    shape : (int, int)
        Size of Nion's scan.
    dwell_s : float
        Time of a frame in s.
    take : callable
        Called with each chunk from the acquiring thread.
    failed : callable
        Called with what ``take`` raised.
    watch : callable
        Called whenever frames have come, after they were taken; here an abort loses none.
    """

    def __init__(
        self,
        camera_id: str,
        order: ScanPlan,
        shape: tuple[int, int],
        dwell_s: float,
        take: Callable[[stream.Chunk], None],
        failed: Callable[[Exception], None],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._camera_id = camera_id
        self._order, self._shape, self._dwell_s = order, shape, dwell_s
        self._take, self._failed, self._watch = take, failed, watch
        self._visits = len(order.visits(shape))
        self._pass = (-1, np.zeros(0, np.int64))
        self._metadata: dict[Any, DataAndMetadata.DataMetadata] = {}

    def update_data(
        self,
        channel: Acquisition.Channel,
        source_data: Any,
        source_slice: Any,
        dest_slice: slice,
        data_metadata: DataAndMetadata.DataMetadata,
    ) -> None:
        """Take a piece of data; Nion calls this."""
        self._metadata[channel] = data_metadata
        if channel.segments[0] == self._camera_id:
            try:
                frame = tuple(data_metadata.data_shape[-2:])
                self._offer(source_data[source_slice].reshape(-1, *frame), dest_slice.start // math.prod(frame))
            except Exception as error:
                self._failed(error)
            self._watch()

    def _offer(self, frames: Any, at: int) -> None:
        while len(frames):
            visit, first = divmod(at, self._visits)
            index = self._order_of(visit)
            part = frames[: self._visits - first]
            times = (at + np.arange(len(part), dtype=np.float64)) * self._dwell_s
            self._take(stream.Chunk(index[first : first + len(part)], part, visit=visit, time_s=times))
            at, frames = at + len(part), frames[len(part) :]

    def _order_of(self, visit: int) -> NDArray[np.int64]:
        """Return the positions of a pass in the order of visits."""
        if self._pass[0] != visit:
            self._pass = visit, dataclasses.replace(self._order, frame=visit).visits(self._shape).order
        return self._pass[1]

    def get_data(self, channel: Acquisition.Channel) -> DataAndMetadata.DataAndMetadata:
        """Return something small of the right kind; Nion wants it at the end."""
        return stand_in(self._metadata[channel])


def stand_in(stored: DataAndMetadata.DataMetadata) -> DataAndMetadata.DataAndMetadata:
    """Return something small of the kind of data that a sink has handed on."""
    empty = np.zeros((1,) * len(stored.data_shape), stored.data_dtype)
    return DataAndMetadata.new_data_and_metadata(empty, data_descriptor=stored.data_descriptor)
