"""Where the beam is during the frames of a camera: at the positions of a scan, or at one place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from esteem_sim.motion import Motion
from esteem_sim.pacing import Pacer, Schedule
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_frame import FrameEndedError, ScanFrame
from esteem_sim.scene import Scene
from esteem_sim.specimen_stage import SpecimenStage
from esteem_sim.visits import Visits
from esteemcore.errors import StreamError

PATIENCE_S = 10.0
"""How long the camera waits for a scan to start, in s."""


class Places(Protocol):
    """Where the beam is during the frames of a run."""

    scene: Scene | None

    @property
    def follows(self) -> bool:
        """Whether frames become due only by what another camera does, so that it is of no use to wait for them."""

    def begin(self) -> Schedule | None:
        """Return the schedule of the frames once the first can be taken, else None."""

    def advance(self, count: int) -> Visits:
        """Return the visits of the next frames, this many or fewer."""


class ScannedPlaces:
    """The camera drives the scan and is paced by its schedule."""

    follows = False

    def __init__(self, device: ScanDevice, count: int, *, paced: bool) -> None:
        self.scene: Scene | None = None
        self.frame: ScanFrame | None = None
        self._device = device
        self._count = count
        self._paced = paced
        self._asked = time.monotonic()

    def begin(self) -> Pacer | None:
        """Wait for the scan and for what the detectors see; never blocks."""
        if self.frame is None:
            self.frame = self._device.synchronized_frame()
        frame = self.frame
        if frame is None:
            if isinstance(self._device.start_error, FrameEndedError):
                raise self._device.start_error
            if self._device.start_error is not None:
                raise StreamError(f"the scan did not start: {self._device.start_error}") from self._device.start_error
            if time.monotonic() - self._asked > PATIENCE_S:
                raise StreamError(f"the scan did not start within {PATIENCE_S:g} s")
            return None
        _check_count(frame, self._count)
        frame.check_running()
        if not self._device.begin_exposure(frame):
            return None
        self.scene = frame.scene
        pacer = Pacer(self._count, due_s=frame.due_s if self._paced else None)
        pacer.start()
        return pacer

    def advance(self, count: int) -> Visits:
        """Move the scan on."""
        frame = self.frame
        if frame is None:
            raise StreamError("the scan has not started")
        return self._device.advance(frame, count)


class FollowedPlaces:
    """Another camera drives the scan; this one exposes at the same visits, as an X-ray detector at a pixel clock.

    A scan that ends early ends nothing here: the camera that drives says why.
    """

    follows = True

    def __init__(self, device: ScanDevice, count: int) -> None:
        self.scene: Scene | None = None
        self._device, self._count = device, count
        self._frame: ScanFrame | None = None
        self._done = 0

    def begin(self) -> Schedule | None:
        """Wait until the scan has begun; never blocks."""
        frame = self._device.driven_frame()
        if frame is None:
            return None
        _check_count(frame, self._count)
        self._frame, self.scene = frame, frame.scene
        return self

    def due(self) -> int:
        """Return the visits of the scan so far."""
        return 0 if self._frame is None else self._frame.advanced

    def advance(self, count: int) -> Visits:
        """Look where the scan was."""
        if self._frame is None:
            raise StreamError("the scan has not started")
        visits = self._frame.passed(self._done, count)
        self._done += len(visits)
        return visits


class ParkedPlaces:
    """The beam rests at one place, which the specimen may leave.

    Parameters
    ----------
    device : ScanDevice
    stage : SpecimenStage
    motion : Motion
    count : int
        Frames.
    period_s : float
        Time of a frame in s.
    electrons : float
        Electrons of a frame.
    paced : bool
        Take them in real time.
    let_beam_on, settle : callable
        Begin to charge a resting beam, and charge it up to now.
    """

    follows = False

    def __init__(
        self,
        device: ScanDevice,
        stage: SpecimenStage,
        motion: Motion,
        count: int,
        period_s: float,
        electrons: float,
        *,
        paced: bool,
        let_beam_on: Callable[[], None],
        settle: Callable[[], None],
    ) -> None:
        self.scene: Scene | None = None
        self._device = device
        self._stage, self._motion = stage, motion
        self._let_beam_on, self._settle = let_beam_on, settle
        self._electrons, self._period_s = electrons, period_s
        self._began_s, self._done = 0.0, 0
        self._pacer = Pacer(count, period_s if paced else 0.0)

    def begin(self) -> Pacer | None:
        """Wait for what the detectors see; never blocks."""
        self.scene = self._stage.current
        if self.scene is None:
            return None
        self._let_beam_on()
        self._pacer.start()
        self._began_s = time.monotonic()
        return self._pacer

    def advance(self, count: int) -> Visits:
        """Stay there."""
        times = self._began_s + self._period_s * (self._done + np.arange(count, dtype=np.float64))
        self._done += count
        places = self._device.probe_place_nm + self._motion.drift_nm(times)
        electrons = 0.0 if self._device.is_dark else self._electrons
        suffered = self._stage.suffered
        if suffered is None:
            return Visits(places, electrons, times)
        self._settle()  # the harm of a resting beam comes with its charge
        return Visits(places, electrons, times, suffered.damage, suffered.harm(places))


def _check_count(frame: ScanFrame, count: int) -> None:
    """Refuse a scan of another size than the camera expects."""
    if len(frame.pattern) != count:
        raise StreamError(f"the camera expects {count} frames but the scan visits {len(frame.pattern)}")
