"""A frame of a series from cameras: one drives the scan, others follow it, and the scan device measures meanwhile."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nion.instrumentation import Acquisition, camera_base
from numpy.typing import NDArray

from esteemcore import events, io, multiframe, stream
from esteemcore.errors import CancelledError, EsteemError, StreamError
from nionswift_plugin.esteem_multiframe.detectors import Detector
from nionswift_plugin.esteem_multiframe.series_sink import SeriesSink
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.nion_progress import in_other_bytes
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan, synchronized
from nionswift_plugin.esteem_scan.words import sentence

Images = dict[int, NDArray[Any]]
Spectra = NDArray[np.float32] | events.SparseSI
COUNTS = "counts"
"""Camera parameter that asks an X-ray detector for whole numbers."""


def take(
    source: Any,
    cameras: Sequence[Detector],
    parameters: Any,
    request: multiframe.FrameRequest,
    plan: multiframe.SeriesPlan,
    stop: threading.Event,
) -> tuple[Images, dict[str, Spectra]]:
    """Return what each channel of the scan device measured, and spectra by signal; of X-ray detectors as events.

    Frames of a 4D camera go into a container of their own, ``camera_NNNNN.esteem`` in the folder of the region.

    Parameters
    ----------
    source : HardwareSource
        The scan device.
    cameras : sequence of Detector
        The first one drives the scan, the others follow it, see `detectors.split`.
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
        If a camera failed or did not give all.
    """
    parameters.channel_variant = "sync"  # what comes in time order does not belong into the live view
    changed, pattern = synchronized(parameters)
    dwell_s = plan.settings.dwell_s / plan.settings.subpixels**2
    shape = request.order.shape
    errors: list[Exception] = []
    with contextlib.ExitStack() as files:
        takers = [_Taker.of(camera, source, changed, request, plan, files) for camera in cameras]
        by_id = {taker.camera.source.hardware_source_id: taker.take for taker in takers}
        sink = SeriesSink(by_id, ScanPlan.of(changed), shape, dwell_s, errors.append)
        driver, *others = [(camera.source, camera_parameters(camera, dwell_s)) for camera in cameras]
        try:
            with in_other_bytes():
                source.grab_synchronized(
                    scan_frame_parameters=changed,
                    camera=driver[0],
                    camera_frame_parameters=driver[1],
                    data_channel=sink,
                    scan_data_stream_functor=_Followers(source, changed, others) if others else None,
                    error_handler=errors.append,
                )
        except RuntimeError as error:
            errors.append(error)
        if stop.is_set():
            raise CancelledError("Stopped by the user")
        if errors:
            first = errors[0]
            raise first if isinstance(first, EsteemError) else StreamError(sentence(first)) from first
        for camera in cameras:
            frames = sink.frames(camera.source.hardware_source_id)
            if frames != len(pattern):
                raise StreamError(f"{camera.name} gave {frames:,} of {len(pattern):,} frames")
        spectra = {taker.camera.key: taker.result() for taker in takers if taker.result is not None}
    return {index: values.reshape(shape) for index, values in sink.images(pattern.order).items()}, spectra


def camera_parameters(camera: Detector, dwell_s: float) -> Any:
    """Return Nion's parameters for frames of this exposure, packed where the frames are kept."""
    parameters = camera.source.get_current_frame_parameters()
    parameters.exposure_ms = dwell_s * 1e3
    parameters.set_parameter(devices.PACKED, camera.kind == "frames")
    if camera.is_counted:
        parameters.set_parameter(COUNTS, True)
    return parameters


class _Taker:
    """Where the frames of one camera go.

    Attributes
    ----------
    camera : Detector
    take : callable
        Called with each chunk.
    result : callable or None
        Returns the spectra; None where the frames are in a file.
    """

    def __init__(
        self, camera: Detector, take: Callable[[stream.Chunk], None], result: Callable[[], Spectra] | None = None
    ) -> None:
        self.camera, self.take, self.result = camera, take, result

    @classmethod
    def of(
        cls,
        camera: Detector,
        source: Any,
        parameters: Any,
        request: multiframe.FrameRequest,
        plan: multiframe.SeriesPlan,
        files: contextlib.ExitStack,
    ) -> _Taker:
        """Return what takes the frames of a camera; a file is closed with ``files``."""
        shape, channels = request.order.shape, camera.channels
        if camera.is_counted:
            gathered = multiframe.CountedSpectra(shape, channels)

            def count(chunk: stream.Chunk) -> None:
                if chunk.frames is not None:
                    gathered.add(chunk.index, chunk.frames.reshape(len(chunk), -1, channels).sum(axis=1))

            return cls(camera, count, gathered.result)
        if camera.kind == "spectra":
            spectra = np.zeros((shape[0] * shape[1], channels), np.float32)

            def add(chunk: stream.Chunk) -> None:
                if chunk.frames is not None:
                    spectra[chunk.index] = chunk.frames.sum(axis=1, dtype=np.float32)

            return cls(camera, add, lambda: spectra.reshape(*shape, -1))
        return cls(camera, files.enter_context(_file(camera, source, parameters, request, plan)).append)


def _file(
    camera: Detector, source: Any, parameters: Any, request: multiframe.FrameRequest, plan: multiframe.SeriesPlan
) -> io.Writer:
    """Return the container of the frames of a 4D camera."""
    frame_shape = devices.packed_shape(camera.source)
    if frame_shape is None:
        raise StreamError(f"{camera.name} gives no packed one-bit frames any more")
    geometry, shape = source.stem_controller.geometry(parameters), request.order.shape
    record = io.ScanRecord(
        shape,
        dwell_s=plan.settings.dwell_s / plan.settings.subpixels**2,
        flyback_s=plan.settings.flyback_s,
        step_nm=geometry.step_nm,
        rotation_deg=geometry.rotation_deg,
    )
    path = request.folder / f"camera_{request.number:05d}.esteem"
    spec = stream.Spec(shape, frame_shape, np.dtype(np.uint8), packed=True)
    return io.Writer(path, spec, scan=record, geometry=geometry, overwrite=path.exists())


class _Followers(Acquisition.DataStreamFunctor):
    """Put more cameras beside the scan device in Nion's synchronized acquisition, to start before the one that drives.

    Parameters
    ----------
    source : HardwareSource
        The scan device.
    parameters : ScanFrameParameters
    cameras : sequence of (HardwareSource, CameraFrameParameters)
    """

    def __init__(self, source: Any, parameters: Any, cameras: Sequence[tuple[Any, Any]]) -> None:
        self._source, self._parameters, self._cameras = source, parameters, list(cameras)

    def apply(self, data_stream: Acquisition.DataStream) -> Acquisition.DataStream:
        """Return a stream of all of them; Nion calls this with that of the scan device."""
        streams = []
        for camera, parameters in self._cameras:
            scanned = copy.deepcopy(self._parameters)
            self._source.scan_device.prepare_synchronized_scan(scanned, camera_exposure_ms=parameters.exposure_ms)
            flyback = self._source.calculate_flyback_pixels(scanned)
            delegate = camera_base.CameraDeviceSynchronizedStreamDelegate(camera, parameters, flyback)
            streams.append(camera_base.CameraDataStream(camera, parameters, delegate))
        return Acquisition.CombinedDataStream([data_stream, *streams])
