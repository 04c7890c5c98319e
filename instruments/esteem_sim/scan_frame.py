"""One frame of a scan: its order, its clock, its images, and what it has exposed."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Literal

import numpy as np
from nion.instrumentation import scan_base
from numpy.typing import NDArray

from esteem_sim.motion import Motion
from esteem_sim.pacing import Pacer
from esteem_sim.scan_field import ScanField
from esteem_sim.scene import CHANNELS, Scene
from esteem_sim.visits import Visits
from esteemcore import scan, simulate
from esteemcore.errors import StreamError
from nionswift_plugin.esteem_scan.scan_plan import SYNCHRONIZED, ScanPlan

State = Literal["running", "complete", "aborted", "failed"]


class FrameEndedError(StreamError):
    """The frame takes no more visits.

    Attributes
    ----------
    is_abort : bool
        Whether somebody wanted it so; else the scan device has failed.
    """

    def __init__(self, message: str, *, is_abort: bool) -> None:
        super().__init__(message)
        self.is_abort = is_abort


class ScanFrame:
    """A frame in progress.

    A free-running frame follows the clock and fills images of its grid. A synchronized frame is driven by a camera,
    which asks for the places of the next visits with `advance`, and fills its images in time order, because Nion hands
    on each row once.

    Parameters
    ----------
    number : int
        Number of the frame, rising.
    parameters : ScanFrameParameters
        Not to be changed any more.
    field : ScanField
        Where on the specimen.
    current_pa : float
        Beam current in pA.
    channels : list of int
        Indices into `CHANNELS` to fill images for.
    kind : str
        What the frame is for, in the words of the dose ledger.
    is_continuous : bool
        Whether more frames follow by themselves.
    seed : int
        Seed of the counting noise.

    Attributes
    ----------
    scene : Scene or None
        What the detectors see; set before the first visit.
    state : {"running", "complete", "aborted", "failed"}
    reason : str
        Why the frame was aborted or has failed.
    begun_at : float
        When the beam was let on, in s of the monotonic clock; minus infinity before.
    displacement_nm : ndarray of float64, shape (visits, 2), or None
        Where each visit really is beside its intended place, (row, column) on the specimen; None if exactly there.
    """

    def __init__(
        self,
        number: int,
        parameters: scan_base.ScanFrameParameters,
        field: ScanField,
        current_pa: float,
        channels: list[int],
        kind: str,
        *,
        is_continuous: bool,
        seed: int,
    ) -> None:
        self.number = number
        self.parameters = parameters
        self.field = field
        self.kind = kind
        self.is_continuous = is_continuous
        self.plan = ScanPlan.of(parameters)
        self.is_synchronized = bool(parameters.get_parameter(SYNCHRONIZED, 0))
        self.scene: Scene | None = None
        self.state: State = "running"
        self.reason = ""
        size = parameters.scan_size
        self.pattern = self.plan.visits((size.height, size.width))
        count = size.height * size.width if self.is_synchronized else len(self.pattern)
        if count != len(self.pattern):
            raise StreamError(
                f"the scan has {size.height} x {size.width} pixels but its plan visits {len(self.pattern)} positions; "
                "prepare its parameters with esteem_scan.scan_plan.synchronized"
            )
        self.shape = (size.height, size.width) if self.is_synchronized else self.pattern.shape
        self.images = {channel: np.zeros(self.shape, np.float32) for channel in channels}
        self.dwell_s = parameters.pixel_time_us * 1e-6
        settle_s, flyback_s = self.plan.settle_us * 1e-6, self.plan.flyback_us * 1e-6
        self.exposure = None
        if current_pa > 0:
            self.exposure = scan.Exposure(
                current_pa,
                self.dwell_s,
                field.step_nm,
                self.pattern.shape,
                flyback_s=flyback_s,
                settle_s=settle_s,
                pattern=self.pattern,
                blanked=self.plan.blank == "positions",
            )
        self.due_s = scan.visit_times(self.pattern, self.dwell_s, settle_s, flyback_s) + self.dwell_s
        self._lasts_s = float(self.due_s[-1]) + (flyback_s if len(self.pattern.line_starts) else 0.0)
        self._places = field.on_specimen(self.pattern.positions)
        self.displacement_nm: NDArray[np.float64] | None = None
        self._suffered: simulate.DamageMap | None = None
        self._harm = np.zeros(0)
        self._exposed = 0
        self._lit = np.ones(len(self.pattern), np.bool_)
        self._pacer = Pacer(len(self.pattern), due_s=self.due_s)
        self.begun_at = -math.inf
        self._noise = np.random.default_rng((seed, number))
        self._advanced = self._filled = 0
        self._elapsed_s = 0.0
        self._ends_dark = False
        self._lock = threading.RLock()

    @property
    def electrons_per_visit(self) -> float:
        """Electrons that one dwell brings."""
        return 0.0 if self.exposure is None else self.exposure.pixel_charge_e

    @property
    def has_begun(self) -> bool:
        """Whether the beam has been let on."""
        return self._pacer.started

    @property
    def advanced(self) -> int:
        """Visits so far."""
        if self.is_synchronized or self.state != "running":
            return self._advanced
        return self._pacer.due()

    @property
    def filled(self) -> int:
        """Visits whose signal is in the images."""
        return self._filled

    def begin(self, scene: Scene, motion: Motion | None = None, suffered: simulate.DamageMap | None = None) -> None:
        """Start the clock.

        Parameters
        ----------
        scene : Scene
            What the detectors see.
        motion : Motion, optional
            Moves the beam away from where it should be.
        suffered : DamageMap, optional
            Where the beam does harm.
        """
        self.scene = scene
        self.begun_at = time.monotonic()
        if motion is not None:
            starts = self.begun_at + self.due_s - self.dwell_s
            moved = motion.displacement_nm(self.field, self.pattern.positions, starts, self.number)
            if moved is not None:
                self.displacement_nm = moved
                self._places = self._places + moved
        if suffered is not None:
            self._suffered, self._harm = suffered, np.zeros(len(self.pattern))
        self._pacer.start()

    def show_before(self, frame: ScanFrame) -> None:
        """Show the signals of the frame before, until the beam has been there again; for live views."""
        for channel, image in self.images.items():
            before = frame.images.get(channel)
            if before is not None and before.shape == image.shape and not frame.is_synchronized:
                image[...] = before

    def advance(self, count: int, dark: bool = False) -> Visits:
        """Move on by some visits of a synchronized frame and return them.

        Raises
        ------
        FrameEndedError
            If the frame was aborted or has failed.
        """
        with self._lock:
            self.check_running()
            first, self._advanced = self._advanced, min(self._advanced + count, len(self.pattern))
            if dark:
                self._lit[first : self._advanced] = False
            self._expose_until(self._advanced)
            return self._visits(first, self._advanced, 0.0 if dark else self.electrons_per_visit)

    def passed(self, first: int, count: int) -> Visits:
        """Return visits of a synchronized frame that were there already, for a camera that follows the one that drives.

        Parameters
        ----------
        first, count : int
            There may be fewer: as far as the frame is, and as long as the beam stays on, or off.
        """
        with self._lock:
            lit = self._lit[first : min(first + count, self._advanced)]
            n = int(np.argmax(lit != lit[0])) or len(lit) if len(lit) else 0
            return self._visits(first, first + n, self.electrons_per_visit if n and lit[0] else 0.0)

    def _visits(self, first: int, last: int, electrons: float) -> Visits:
        starts = self.begun_at + self.due_s[first:last] - self.dwell_s
        if self._suffered is None:
            return Visits(self._places[first:last], electrons, starts)
        return Visits(self._places[first:last], electrons, starts, self._suffered.damage, self._harm[first:last])

    def _expose_until(self, last: int) -> None:
        """Harm the specimen with the visits that have not done so yet."""
        first, self._exposed = self._exposed, max(last, self._exposed)
        if self._suffered is not None and last > first:
            electrons = self.electrons_per_visit * self._lit[first:last]
            starts = self.begun_at + self.due_s[first:last] - self.dwell_s
            self._harm[first:last] = self._suffered.expose(self._places[first:last], electrons, self.dwell_s, starts)

    def check_running(self) -> None:
        """Raise if the frame takes no more visits.

        Raises
        ------
        FrameEndedError
            With the reason.
        """
        if self.state in ("aborted", "failed"):
            visits = f"{self._advanced} of {len(self.pattern)} visits"
            raise FrameEndedError(f"{self.reason}; the scan ended after {visits}", is_abort=self.state == "aborted")

    def recent_places(self, count: int) -> NDArray[np.float64]:
        """Return places of the last visits, spread over at most this many frames of a camera that only looks on."""
        last = max(self.advanced, 1)
        chosen = np.linspace(max(0, last - count), last - 1, count).astype(np.int64)
        return self._places[chosen]

    def fill(self, dark: bool = False) -> bool:
        """Bring the images up to the visits so far; return whether all are in."""
        with self._lock:
            first, last = self._filled, self.advanced
            if last > first and self.scene is not None:
                if dark and not self.is_synchronized:
                    self._lit[first:last] = False
                where = np.arange(first, last) if self.is_synchronized else self.pattern.order[first:last]
                electrons = self.electrons_per_visit * self._lit[first:last]
                self._expose_until(last)
                content = self._visits(first, last, 0.0).changed(self.scene.sample.composition)
                for channel, image in self.images.items():
                    mean = self.scene.signal(CHANNELS[channel], self._places[first:last], content) * electrons
                    image.reshape(-1)[where] = self._noise.poisson(mean)
                self._filled = last
            return self._filled == len(self.pattern)

    def end(self, state: State, reason: str = "", *, is_dark: bool = False) -> bool:
        """Stop taking visits and say why; return False if that had happened before.

        Parameters
        ----------
        state : {"complete", "aborted", "failed"}
        reason : str
            Why, if it was not complete.
        is_dark : bool
            Whether the blanker is shut, for the visits since the last look at a free-running frame.
        """
        with self._lock:
            if self.state != "running":
                return False
            self._advanced = self.advanced
            self._elapsed_s = min(self._pacer.elapsed_s, self._lasts_s)
            if is_dark and not self.is_synchronized:
                self._lit[self._filled : self._advanced] = False
                self._ends_dark = True
            self._expose_until(self._advanced)
            self.state, self.reason = state, reason
            return True

    def exposed(self) -> tuple[NDArray[np.float64], float]:
        """Return the dwells that each position got (y, x), a begun one as its part, and the beam-on time in s."""
        with self._lock:
            n = self._advanced
            dwells = self._lit[:n].astype(np.float64)
            order = self.pattern.order[: n + 1]
            ends_dark = self._ends_dark or (n > 0 and not self._lit[n - 1])
            if not self.has_begun:
                elapsed = 0.0
            elif self.is_synchronized or n == len(self.pattern):
                elapsed = self._lasts_s if n == len(self.pattern) else float(self.due_s[n - 1]) if n else 0.0
            else:
                elapsed = self._elapsed_s
                begun_s = min(max(0.0, elapsed - (float(self.due_s[n]) - self.dwell_s)), self.dwell_s)
                if begun_s > 0 and not ends_dark:
                    dwells = np.append(dwells, begun_s / self.dwell_s)
            visits = np.bincount(order[: len(dwells)], weights=dwells, minlength=self._n_positions)
            # settling and flyback before a dwell that was dark were dark, too, and so was what followed the last one
            if ends_dark:
                elapsed = min(elapsed, float(self.due_s[n - 1]) if n else 0.0)
            elapsed -= float(np.diff(self.due_s[:n], prepend=0.0)[~self._lit[:n]].sum())
            return visits.reshape(self.pattern.shape), elapsed

    @property
    def _n_positions(self) -> int:
        return self.pattern.shape[0] * self.pattern.shape[1]

    def elements(self) -> list[dict[str, Any]]:
        """Return the images as Nion wants them."""
        properties = self.parameters.as_dict()
        properties["center_x_nm"] = self.parameters.center_nm.x
        properties["center_y_nm"] = self.parameters.center_nm.y
        properties["rotation_deg"] = math.degrees(self.parameters.rotation_rad)
        properties["esteem_kind"] = self.kind
        return [
            {"data": image, "properties": {**properties, "channel_id": channel}}
            for channel, image in self.images.items()
        ]
