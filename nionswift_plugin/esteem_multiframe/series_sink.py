"""Where a synchronized frame of a series goes: images of the scan device, and the frames of each camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.instrumentation import Acquisition
from numpy.typing import NDArray

from esteemcore import stream
from nionswift_plugin.esteem_scan.frame_sink import FrameSink, stand_in
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan


class SeriesSink(Acquisition.DataChannel):
    """Give the frames of each camera to its taker, and keep what the scan device measures.

    Parameters
    ----------
    takers : mapping of str to callable
        By the hardware sources of the cameras: called with each chunk from the acquiring thread.
    order : ScanPlan
        As `nionswift_plugin.esteem_scan.scan_plan.synchronized` made it.
    shape : (int, int)
        Size of Nion's scan.
    dwell_s : float
        Time of a frame in s.
    failed : callable
        Called with what a taker raised.
    """

    def __init__(
        self,
        takers: Mapping[str, Callable[[stream.Chunk], None]],
        order: ScanPlan,
        shape: tuple[int, int],
        dwell_s: float,
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._cameras = {name: _CameraSink(name, order, shape, dwell_s, take, failed) for name, take in takers.items()}
        self._visits = len(order.visits(shape))
        self._measured: dict[int, NDArray[np.float32]] = {}
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
        if channel.segments[0] in self._cameras:
            camera = self._cameras[channel.segments[0]]
            camera.update_data(channel, source_data, source_slice, dest_slice, data_metadata)
            return
        self._metadata[channel] = data_metadata
        values = np.asarray(source_data[source_slice], np.float32).reshape(-1)
        index = int(channel.segments[1])
        if index not in self._measured:
            self._measured[index] = np.full(self._visits, np.nan, np.float32)
        self._measured[index][dest_slice.start : dest_slice.start + len(values)] = values

    def get_data(self, channel: Acquisition.Channel) -> DataAndMetadata.DataAndMetadata:
        """Return something small of the right kind; Nion wants it at the end."""
        if channel.segments[0] in self._cameras:
            return self._cameras[channel.segments[0]].get_data(channel)
        return stand_in(self._metadata[channel])

    def frames(self, camera_id: str) -> int:
        """Return how many frames of a camera came."""
        return self._cameras[camera_id].frames

    def images(self, order: NDArray[np.int64]) -> dict[int, NDArray[np.float32]]:
        """Return what each channel measured, by position; channels that are not whole are left."""
        images = {}
        for index, values in self._measured.items():
            if not np.isnan(values).any():
                images[index] = np.empty_like(values)
                images[index][order] = values
        return images


class _CameraSink(FrameSink):
    """A frame sink that counts its frames, and takes cameras with a single row."""

    frames = 0

    def update_data(
        self, channel: Any, source_data: Any, source_slice: Any, dest_slice: slice, data_metadata: Any
    ) -> None:
        """Take a piece of data."""
        if data_metadata.datum_dimension_count != 1:
            super().update_data(channel, source_data, source_slice, dest_slice, data_metadata)
            return
        self._metadata[channel] = data_metadata
        size = data_metadata.data_shape[-1]
        try:
            self._offer(np.asarray(source_data[source_slice]).reshape(-1, 1, size), dest_slice.start // size)
        except Exception as error:
            self._failed(error)

    def _offer(self, frames: Any, at: int) -> None:
        self.frames += len(frames)
        super()._offer(frames, at)
