"""What moves by itself: the specimen under the beam, the beam beside its scan, the spectrum on its camera."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteem_sim.controls import Controls
from esteem_sim.pacing import Clock
from esteem_sim.scan_field import ScanField
from esteemcore import simulate

DRIFT = ("SpecimenDrift.y", "SpecimenDrift.x", "SpecimenWalk")
"""Controls of the drift: m/s along rows and columns, and the random walk in m after 1 s."""
ENERGY_DRIFT = ("EELS_EnergyDrift", "EELS_Instability")
"""Controls of the drift of the spectrum: eV/s, and the random walk in eV after 1 s."""
JITTER = ("ScanJitter", "LineJitter", "MainsHum")
"""Controls of the scan distortion in m: of each position, of each line, amplitude of the mains at 50 Hz."""


class Wander:
    """Drift that goes on from where it is when its speed changes; nothing moves at the start.

    Parameters
    ----------
    seed : int
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, seed: int = 0, clock: Clock = time.monotonic) -> None:
        self._seed = seed
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._before = np.zeros(2)
        self._drift: simulate.Drift | None = None

    def change(self, velocity: tuple[float, float], walk: float) -> None:
        """Move otherwise from now on: per s, and the standard deviation of a random walk after 1 s."""
        with self._lock:
            now = self._clock()
            self._before = self._at(np.array([now]))[0]
            self._began = now
            self._seed += 1
            moves = any(velocity) or walk
            self._drift = simulate.Drift(velocity, walk_px=abs(walk), seed=self._seed) if moves else None

    def at(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Return the displacement (n, 2) at times of the clock in s."""
        with self._lock:
            return self._at(np.asarray(time_s, np.float64))

    def _at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.tile(self._before, (len(times), 1))
        if self._drift is not None:  # it knows no unit
            found += self._drift.displacement(np.maximum(times - self._began, 0))
        return found


class Motion:
    """Displacements against what scan and spectrometer mean, and their truth.

    All of it is off at the start. Frames and runs that have begun do not notice a change.

    Parameters
    ----------
    controls : Controls
    seed : int
        Of random walks and jitter.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, controls: Controls, seed: int = 0, clock: Clock = time.monotonic) -> None:
        self.seed = seed
        self._controls = controls
        self._began = clock()
        self._specimen, self._spectrum = Wander(seed, clock), Wander(seed + 2**16, clock)

    def control_changed(self, name: str) -> None:
        """Take a control that has changed."""
        if name in DRIFT:
            y, x, walk = (self._nm(control) for control in DRIFT)
            self._specimen.change((y, x), walk)
        elif name in ENERGY_DRIFT:
            rate, walk = (self._controls.get_value(control) or 0.0 for control in ENERGY_DRIFT)
            self._spectrum.change((rate, 0.0), walk)

    def drift_nm(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Return by how much (n, 2) the beam is beside its place on the specimen in nm, at times of the clock in s."""
        return self._specimen.at(time_s)

    def energy_ev(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Return by how much (n,) the spectrum is moved towards higher channels in eV, at times of the clock in s."""
        return self._spectrum.at(time_s)[:, 0]

    def displacement_nm(
        self, field: ScanField, positions_px: NDArray[np.float64], time_s: NDArray[np.float64], visit: int
    ) -> NDArray[np.float64] | None:
        """Return where on the specimen the visits of a frame are beside their intended places.

        Parameters
        ----------
        field : ScanField
        positions_px : ndarray of float64, shape (n, 2)
            Intended positions.
        time_s : ndarray of float64, shape (n,)
            Times of the clock in s.
        visit : int
            Number of the frame: each has its own jitter.

        Returns
        -------
        ndarray of float64, shape (n, 2), or None
            (row, column) in nm in the frame of the specimen; None if everything is off.
        """
        jitter, line, hum = (abs(self._nm(name)) for name in JITTER)
        drift = self.drift_nm(time_s)
        if not (jitter or line or hum):
            return drift if drift.any() else None
        scan = simulate.ScanDistortion(line_jitter_px=line, hum_px=hum, jitter_px=jitter, seed=self.seed)
        since = np.maximum(time_s - self._began, 0)
        return drift + simulate.scan_to_specimen(scan.displacement(since, positions_px, visit), field.rotation_deg)

    def _nm(self, name: str) -> float:
        return (self._controls.get_value(name) or 0.0) * 1e9
