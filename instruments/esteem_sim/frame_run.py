"""A run of the camera: so many frames, in time, at the positions of a scan or at one place."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from esteem_sim.frame_memory import FrameMemory
from esteem_sim.pacing import Pacer
from esteem_sim.scan_device import ScanDevice
from esteem_sim.scan_frame import FrameEndedError, ScanFrame
from esteem_sim.specimen_stage import Scene, SpecimenStage
from esteemcore import events, simulate
from esteemcore.errors import StreamError

CHUNK = 512
"""Frames that are drawn at a time."""
PATIENCE_S = 10.0
"""How long the camera waits for a scan to start, in s."""


class Places(Protocol):
    """Where the beam is during the frames of a run."""

    scene: Scene | None

    def begin(self) -> Pacer | None:
        """Return the schedule of the frames once the first can be taken, else None."""

    def advance(self, count: int) -> tuple[NDArray[np.float64], float]:
        """Return the places of the next frames (n, 2) in nm and the electrons of each."""


class ScannedPlaces:
    """The camera drives the scan and is paced by its schedule."""

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
            if self._device.start_error is not None:
                raise StreamError(f"the scan did not start: {self._device.start_error}") from self._device.start_error
            if time.monotonic() - self._asked > PATIENCE_S:
                raise StreamError(f"the scan did not start within {PATIENCE_S:g} s")
            return None
        if len(frame.pattern) != self._count:
            raise StreamError(f"the camera expects {self._count} frames but the scan visits {len(frame.pattern)}")
        if frame.state != "running":
            raise FrameEndedError(f"the scan has {frame.state} before the first frame")
        if not self._device.begin_exposure(frame):
            return None
        self.scene = frame.scene
        pacer = Pacer(self._count, due_s=frame.due_s if self._paced else None)
        pacer.start()
        return pacer

    def advance(self, count: int) -> tuple[NDArray[np.float64], float]:
        """Move the scan on."""
        frame = self.frame
        if frame is None:
            raise StreamError("the scan has not started")
        dark = self._device.is_dark
        return self._device.advance(frame, count), 0.0 if dark else frame.electrons_per_visit


class ParkedPlaces:
    """The beam rests at one place."""

    def __init__(
        self, device: ScanDevice, stage: SpecimenStage, count: int, period_s: float, electrons: float, *, paced: bool
    ) -> None:
        self.scene: Scene | None = None
        self._device = device
        self._stage = stage
        self._electrons = electrons
        self._pacer = Pacer(count, period_s if paced else 0.0)

    def begin(self) -> Pacer | None:
        """Wait for what the detectors see; never blocks."""
        self.scene = self._stage.current
        if self.scene is None:
            return None
        self._pacer.start()
        return self._pacer

    def advance(self, count: int) -> tuple[NDArray[np.float64], float]:
        """Stay there."""
        electrons = 0.0 if self._device.is_dark else self._electrons
        return np.tile(self._device.probe_place_nm, (count, 1)), electrons


class FrameRun:
    """Draw the frames of a run as they become due.

    Parameters
    ----------
    places : Places
        Where the beam is.
    memory : FrameMemory
        Of shape (n, ky, kx) or, packed, (n, ky, kx / 8).
    detector : Detector
    seed : int
        Seed of the electrons.
    packed : bool
        Keep the bits packed.

    Attributes
    ----------
    count, done : int
        Frames of the run and frames drawn.
    is_cancelled : bool
    """

    def __init__(
        self, places: Places, memory: FrameMemory, detector: simulate.Detector, *, seed: int, packed: bool
    ) -> None:
        self.count = len(memory.array)
        self.done = 0
        self.seed = seed
        self._places = places
        self._memory = memory
        self._detector = detector
        self._packed = packed
        self._pacer: Pacer | None = None
        self._sampler: simulate.FrameSampler | None = None
        self._cancel = threading.Event()
        self._frame_bytes = memory.array[:1].nbytes
        self._chunk = CHUNK if packed else 32

    @property
    def is_complete(self) -> bool:
        """Whether all frames are there."""
        return self.done == self.count

    @property
    def is_cancelled(self) -> bool:
        """Whether no more frames will come."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Take no more frames."""
        self._cancel.set()

    def read(self, period_s: float) -> None:
        """Draw frames that are due, for at most about this time; return early when all are there."""
        handed_on = self.done * self._frame_bytes
        until = time.monotonic() + period_s
        while not self._cancel.is_set() and not self.is_complete:
            if not self._draw():
                time.sleep(0.001)
            if time.monotonic() >= until:
                break
        self._memory.forget(handed_on)

    def _draw(self) -> bool:
        """Draw some frames; return False if none is due."""
        if self._pacer is None:
            self._pacer = self._places.begin()
            if self._pacer is None or self._places.scene is None:
                return False
            self._sampler = simulate.FrameSampler(self._places.scene.bank, self._detector, seed=self.seed)
        n = min(self._pacer.due() - self.done, self._chunk)
        if n <= 0 or self._sampler is None:
            return False
        out = self._memory.array[self.done : self.done + n]
        try:
            where, electrons = self._places.advance(n)
        except FrameEndedError:
            # an abort reaches scan and camera one after the other
            if self._cancel.wait(1.0):
                return False
            raise
        draw(self._sampler, where, electrons, out, packed=self._packed)
        self.done += n
        return True


def draw(
    sampler: simulate.FrameSampler, places_nm: NDArray[Any], electrons: float, out: NDArray[Any], *, packed: bool
) -> None:
    """Draw one-bit frames at places on the specimen into packed or plain memory."""
    if packed:
        sampler.frames(places_nm, electrons, out=out)
    else:
        out[...] = events.unpack_bits(sampler.frames(places_nm, electrons), sampler.detector.shape[1])
