"""Which signals can be recorded: what the instrument offers now."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from nion.utils import Registry

from esteemcore import io, multiframe
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_scan import devices

COUNTS = "eds"
"""Value of ``signal_type`` of X-ray detectors: whole counts, stored as events."""
SPECTRA = ("eels", COUNTS)
"""Values of ``signal_type`` of camera devices that give a spectrum, or rows that add up to one, for each place."""


@dataclasses.dataclass(frozen=True)
class Detector:
    """A signal that can be recorded.

    Attributes
    ----------
    name : str
        In the panel and in files.
    kind : {"channel", "frames", "spectra"}
        A channel of the scan device, the frames of a 4D camera, or spectra of an EELS camera or EDS detector.
    source : HardwareSource
    channel : int
    channel_id : str
        Of the scan device.
    """

    name: str
    kind: Literal["channel", "frames", "spectra"]
    source: Any
    channel: int = -1
    channel_id: str = ""

    @property
    def energy(self) -> io.Axis | None:
        """Energies of spectra, as the camera is set now; None for other signals."""
        if self.kind != "spectra":
            return None
        parameters = self.source.get_current_frame_parameters()
        parameters.set_parameter(devices.PACKED, False)
        shape = tuple(self.source.get_expected_dimensions(parameters))
        calibrator = self.source.camera.get_camera_calibrator(instrument_controller=self.source.camera)
        energy = calibrator.get_signal_calibrations(parameters, shape)[-1]
        return io.Axis("energy", shape[-1], energy.scale, energy.offset, energy.units)

    @property
    def channels(self) -> int:
        """Number of channels of a spectrum."""
        energy = self.energy
        return energy.size if energy is not None else 0

    @property
    def is_counted(self) -> bool:
        """Whether it is an X-ray detector, whose counts are stored as events."""
        return self.kind == "spectra" and self.source.camera.signal_type == COUNTS

    @property
    def follows(self) -> bool:
        """Whether it can record a scan that another camera drives: X-ray detectors, and cameras that say so."""
        return self.is_counted or bool(getattr(self.source.camera, "follows_scan", False))

    @property
    def shortest_s(self) -> float:
        """Shortest exposure of a camera in s."""
        parameters = self.source.get_current_frame_parameters()
        parameters.exposure_ms = 0.0
        return float(self.source.validate_frame_parameters(parameters).exposure_ms) * 1e-3

    @property
    def key(self) -> str:
        """Name of the signal in files."""
        return re.sub(r"[^A-Za-z0-9_-]+", "_", self.name).strip("_") or f"channel_{self.channel}"


def find(scan_source: Any) -> list[Detector]:
    """Return what can be recorded with a scan device: its channels, then the cameras that follow it."""
    if scan_source is None:
        return []
    states = [scan_source.get_channel_state(index) for index in range(scan_source.channel_count)]
    channels = [
        Detector(state.name, "channel", scan_source, index, str(state.channel_id)) for index, state in enumerate(states)
    ]
    return channels + [_camera(camera) for camera in cameras()]


def cameras() -> list[Any]:
    """Return Nion's hardware sources of the cameras that can be recorded: packed one-bit frames, or spectra."""
    found = list(devices.cameras())
    more = sorted(Registry.get_components_by_type("camera_hardware_source"), key=lambda source: source.display_name)
    return found + [source for source in more if source not in found and _is_spectrometer(source)]


def _is_spectrometer(source: Any) -> bool:
    return getattr(source.camera, "signal_type", None) in SPECTRA


def _camera(source: Any) -> Detector:
    return Detector(source.display_name, "spectra" if _is_spectrometer(source) else "frames", source)


def split(chosen: Sequence[Detector]) -> tuple[list[Detector], list[Detector]]:
    """Return the chosen channels and cameras, the one that drives the scan first.

    It is one that cannot follow, else the slowest; X-ray detectors follow any other camera.

    Raises
    ------
    ParameterError
        If nothing is chosen, only cameras, two that cannot follow, or two 4D cameras: their frames have one file.
    """
    channels = [detector for detector in chosen if detector.kind == "channel"]
    found = [detector for detector in chosen if detector.kind != "channel"]
    if not channels:
        raise ParameterError("choose at least one image signal to record: frames are placed by it")
    alone = [camera.name for camera in found if not camera.follows]
    if len(alone) > 1:
        raise ParameterError(f"only one camera can drive the scan; choose one of {' and '.join(alone)}")
    beside = [camera.name for camera in found if camera.kind == "frames"]
    if len(beside) > 1:
        raise ParameterError(f"only one 4D camera can be recorded; choose one of {' and '.join(beside)}")
    if len(found) > 1:
        found.sort(key=lambda camera: (camera.follows, camera.is_counted, -camera.shortest_s))
    return channels, found


def signals(
    chosen: Sequence[Detector], shape: tuple[int, int], pixel_size_nm: float, *, compress: bool = True
) -> dict[str, io.SeriesSignal]:
    """Return what the series holds for each frame; frames of a 4D camera go into files of their own.

    Parameters
    ----------
    chosen : sequence of Detector
    shape : (int, int)
    pixel_size_nm : float
    compress : bool
        Store spectra in our lossless codec; without it by zstd, which every reader of Zarr knows. Events are always
        stored as events.

    Raises
    ------
    ParameterError
        If two have the same name in files.
    """
    axes = tuple(
        io.Axis(name, size, pixel_size_nm, -pixel_size_nm * (size - 1) / 2, "nm")
        for name, size in zip("yx", shape, strict=True)
    )
    made = {}
    for detector in chosen:
        energy = detector.energy
        more = (energy,) if energy is not None else ()
        same = next((other.name for other in chosen if other is not detector and other.key == detector.key), None)
        if same is not None or detector.key == multiframe.VISIT_ORDER:
            raise ParameterError(
                f"{detector.name} would be called {detector.key} in files, as {same or 'the order of the visits'} is; "
                "give it a name of its own in Nion Swift, or do not record both"
            )
        if detector.kind != "frames":
            made[detector.key] = io.SeriesSignal(
                (*shape, *(axis.size for axis in more)),
                np.uint16 if detector.is_counted else np.float32,
                (*axes, *more),
                kind="events" if detector.is_counted else "dense",
                codec=None if compress or detector.is_counted else "zstd",
                metadata={"unit": "counts"},
            )
    return made


def bytes_beside(cameras: Sequence[Detector], shape: tuple[int, int]) -> int:
    """Return the bytes of one scan with the 4D cameras among these, packed."""
    frames = [devices.packed_shape(camera.source) for camera in cameras if camera.kind == "frames"]
    return sum(shape[0] * shape[1] * known[0] * -(-known[1] // 8) for known in frames if known is not None)
