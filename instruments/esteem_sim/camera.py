"""The one-bit camera: packed frames at up to 12,500 per second, and sums of them for the live view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.instrumentation import camera_base
from numpy.typing import DTypeLike, NDArray

from esteem_sim.calibrations import DiffractionCalibrator
from esteem_sim.driven_camera import DrivenCamera, camera_settings
from esteem_sim.frame_run import Drawing
from esteem_sim.instrument import Instrument
from esteem_sim.optics import FRAME_SHAPE
from esteem_sim.scene import Scene
from esteem_sim.visits import Visits
from esteemcore import events, scan, simulate

__all__ = ["FRAME_S", "PACKED", "OneBitCamera", "camera_settings", "is_packed"]

FRAME_S = 80e-6
"""Shortest frame in s: 12,500 frames per second."""
CHUNK = 2048
"""Packed frames that are drawn at a time, at most."""
PACKED = "packed"
"""Key of the camera parameters: True for packed frames of shape (ky, kx / 8), see `OneBitCamera`."""


class OneBitCamera(DrivenCamera):
    """A counting camera whose pixels say hit or not.

    With ``parameters.set_parameter("packed", True)`` frames come as uint8 ``(ky, kx / 8)``, little-endian bit order
    along a row, as fast as they are taken; this is what Esteem's panels use. Without it they come as float32
    ``(ky, kx)``, which is all that Nion's own panels can store, at a few hundred frames per second. The live view
    shows the sum of the frames of its exposure. Of a specimen whose potential is not known it sees the beam alone.

    Parameters
    ----------
    camera_id, name : str
    instrument : Instrument
    """

    def __init__(self, camera_id: str, name: str, instrument: Instrument) -> None:
        super().__init__(camera_id, name, instrument, "ronchigram", FRAME_S, 20.0)
        self._view: simulate.FrameSampler | None = None

    @property
    def sensor_dimensions(self) -> tuple[int, int]:
        """Pixels (ky, kx)."""
        return FRAME_SHAPE

    def get_expected_dimensions_for_frame_parameters(
        self, frame_parameters: camera_base.CameraFrameParameters
    ) -> tuple[int, int]:
        """Return the shape of a frame as it will come."""
        return self.frame_shape(frame_parameters)

    def get_camera_calibrator(self, *, instrument_controller: Any, **kwargs: Any) -> camera_base.CameraCalibrator:
        """Return the calibrations of the axes."""
        return DiffractionCalibrator(lambda: self._instrument.detector)

    def start_live(self) -> None:
        """Start looking; the beam comes on as soon as it is known what there is to see."""
        if not self._is_live:
            self._view = None
        super().start_live()

    def frame_shape(self, parameters: camera_base.CameraFrameParameters) -> tuple[int, int]:
        """Return the shape of a frame as it comes in a run."""
        return (FRAME_SHAPE[0], FRAME_SHAPE[1] // 8) if is_packed(parameters) else FRAME_SHAPE

    def frame_dtype(self, parameters: camera_base.CameraFrameParameters) -> DTypeLike:
        """Return uint8 for packed frames, else float32."""
        return np.uint8 if is_packed(parameters) else np.float32

    def chunk(self, parameters: camera_base.CameraFrameParameters) -> int:
        """Return how many frames are drawn at a time, at most."""
        return CHUNK if is_packed(parameters) else 32

    def drawing(self, scene: Scene, parameters: camera_base.CameraFrameParameters, seed: int) -> Drawing:
        """Return what draws the frames of a run."""
        sampler = simulate.FrameSampler(scene.bank, self._instrument.detector, seed=seed)
        packed = is_packed(parameters)

        def draw(visits: Visits, out: NDArray[Any]) -> None:
            _draw(sampler, visits, out, packed=packed)

        return draw

    def describe(self, parameters: camera_base.CameraFrameParameters, seed: int) -> Mapping[str, Any]:
        """Return what must be known to read the frames."""
        return {
            "packed": is_packed(parameters),
            "bit_order": "little",
            "bits_per_pixel": 1,
            "frame_shape": list(FRAME_SHAPE),
            "kx": FRAME_SHAPE[1],
            "seed": seed,
        }

    def look(self, scene: Scene, exposure_s: float) -> NDArray[np.float32]:
        """Return the sum of the frames of one exposure."""
        image = self.nothing()
        count = max(1, round(exposure_s / FRAME_S))
        if self._view is None or self._view.bank is not scene.bank or self._view.detector != self._instrument.detector:
            self._view = simulate.FrameSampler(scene.bank, self._instrument.detector, seed=self._next_seed())
        electrons = scan.charge_e(max(0.0, self._instrument.current_pa), exposure_s / count)
        frames = np.empty((min(count, 256), *FRAME_SHAPE), np.float32)
        for first in range(0, count, len(frames)):
            n = min(len(frames), count - first)
            _draw(self._view, self.visits_in_view(n, electrons), frames[:n], packed=False)
            image += frames[:n].sum(axis=0)
        return image

    def nothing(self) -> NDArray[np.float32]:
        """Return an empty image."""
        return np.zeros(FRAME_SHAPE, np.float32)


def is_packed(parameters: camera_base.CameraFrameParameters) -> bool:
    """Return whether frames with these parameters come packed."""
    return bool(parameters.get_parameter(PACKED, False))


def _draw(sampler: simulate.FrameSampler, visits: Visits, out: NDArray[Any], *, packed: bool) -> None:
    """Draw one-bit frames of visits into packed or plain memory."""
    if packed:
        sampler.frames(visits.places_nm, visits.electrons, out=out)
    else:
        out[...] = events.unpack_bits(sampler.frames(visits.places_nm, visits.electrons), sampler.detector.shape[1])
