"""A frame of a series from a camera that drives the scan, with what the scan device measures meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import events, io, multiframe, stream
from esteemcore.errors import CancelledError, EsteemError, StreamError
from nionswift_plugin.esteem_multiframe.detectors import Detector
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.frame_sink import FrameSink
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan, synchronized
from nionswift_plugin.esteem_scan.words import sentence

Images = dict[int, NDArray[Any]]
COUNTS = "counts"
"""Camera parameter that asks an X-ray detector for whole numbers."""


def take(
    source: Any,
    camera: Detector,
    parameters: Any,
    request: multiframe.FrameRequest,
    plan: multiframe.SeriesPlan,
    stop: threading.Event,
) -> tuple[Images, NDArray[np.float32] | events.SparseSI | None]:
    """Return what each channel of the scan device measured, and the spectra; those of an X-ray detector as events.

    Frames of a 4D camera go into a container of their own, ``camera_NNNNN.esteem`` in the folder of the region.

    Parameters
    ----------
    source : HardwareSource
        The scan device.
    camera : Detector
    parameters : ScanFrameParameters
    request : FrameRequest
    plan : SeriesPlan
    stop : Event
        Set by the user.

    Raises
    ------
    CancelledError
        If the user has stopped it.
    StreamError
        If the camera failed or did not give all.
    """
    parameters.channel_variant = "sync"  # what comes in time order does not belong into the live view
    changed, pattern = synchronized(parameters)
    dwell_s = plan.settings.dwell_s / plan.settings.subpixels**2
    shape = request.order.shape

    def grab(chosen: Any, taken: Callable[[stream.Chunk], None]) -> Images:
        errors: list[Exception] = []
        identifier, order = camera.source.hardware_source_id, ScanPlan.of(changed)
        sink = _SeriesSink(identifier, order, shape, dwell_s, taken, errors.append)
        try:
            source.grab_synchronized(
                scan_frame_parameters=changed,
                camera=camera.source,
                camera_frame_parameters=chosen,
                data_channel=sink,
                error_handler=errors.append,
            )
        except RuntimeError as error:
            errors.append(error)
        if stop.is_set():
            raise CancelledError("Stopped by the user")
        if errors:
            first = errors[0]
            raise first if isinstance(first, EsteemError) else StreamError(sentence(first)) from first
        if sink.frames != len(pattern):
            raise StreamError(f"{camera.name} gave {sink.frames:,} of {len(pattern):,} frames")
        return {index: values.reshape(shape) for index, values in sink.images(pattern.order).items()}

    chosen = camera_parameters(camera, dwell_s)
    if camera.is_counted:
        gathered = multiframe.CountedSpectra(shape, camera.channels)

        def count(chunk: stream.Chunk) -> None:
            if chunk.frames is not None:
                gathered.add(chunk.index, chunk.frames.reshape(len(chunk), -1, gathered.channels).sum(axis=1))

        return grab(chosen, count), gathered.result()

    if camera.kind == "spectra":
        spectra = np.zeros((shape[0] * shape[1], camera.channels), np.float32)

        def add(chunk: stream.Chunk) -> None:
            if chunk.frames is not None:
                spectra[chunk.index] = chunk.frames.sum(axis=1, dtype=np.float32)

        return grab(chosen, add), spectra.reshape(*shape, -1)

    frame_shape = devices.packed_shape(camera.source)
    if frame_shape is None:
        raise StreamError(f"{camera.name} gives no packed one-bit frames any more")
    geometry = source.stem_controller.geometry(changed)
    record = io.ScanRecord(
        shape,
        dwell_s=dwell_s,
        flyback_s=plan.settings.flyback_s,
        step_nm=geometry.step_nm,
        rotation_deg=geometry.rotation_deg,
    )
    path = request.folder / f"camera_{request.number:05d}.esteem"
    spec = stream.Spec(shape, frame_shape, np.dtype(np.uint8), packed=True)
    with io.Writer(path, spec, scan=record, geometry=geometry, overwrite=path.exists()) as writer:
        return grab(chosen, writer.append), None


def camera_parameters(camera: Detector, dwell_s: float) -> Any:
    """Return Nion's parameters for frames of this exposure, packed where the frames are kept."""
    parameters = camera.source.get_current_frame_parameters()
    parameters.exposure_ms = dwell_s * 1e3
    parameters.set_parameter(devices.PACKED, camera.kind == "frames")
    if camera.is_counted:
        parameters.set_parameter(COUNTS, True)
    return parameters


class _SeriesSink(FrameSink):
    """A frame sink that also keeps what the scan device measures, and takes cameras with a single row."""

    _measured: dict[int, NDArray[np.float32]] | None = None
    frames = 0

    def update_data(
        self, channel: Any, source_data: Any, source_slice: Any, dest_slice: slice, data_metadata: Any
    ) -> None:
        """Take a piece of data; Nion calls this."""
        if channel.segments[0] != self._camera_id:
            if self._measured is None:
                self._measured = {}
            values = np.asarray(source_data[source_slice], np.float32).reshape(-1)
            index = int(channel.segments[1])
            if index not in self._measured:
                self._measured[index] = np.full(self._visits, np.nan, np.float32)
            self._measured[index][dest_slice.start : dest_slice.start + len(values)] = values
        elif data_metadata.datum_dimension_count == 1:
            self._metadata[channel] = data_metadata
            size = data_metadata.data_shape[-1]
            try:
                self._offer(np.asarray(source_data[source_slice]).reshape(-1, 1, size), dest_slice.start // size)
            except Exception as error:
                self._failed(error)
            return
        super().update_data(channel, source_data, source_slice, dest_slice, data_metadata)

    def _offer(self, frames: Any, at: int) -> None:
        self.frames += len(frames)
        super()._offer(frames, at)

    def images(self, order: NDArray[np.int64]) -> dict[int, NDArray[np.float32]]:
        """Return what each channel measured, by position; channels that are not whole are left."""
        images = {}
        for index, values in (self._measured or {}).items():
            if not np.isnan(values).any():
                images[index] = np.empty_like(values)
                images[index][order] = values
        return images
