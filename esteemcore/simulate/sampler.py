"""Drawing the electrons of each frame from the bank of diffraction patterns."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import EventTable
from esteemcore.simulate import _kernels
from esteemcore.simulate.bank import Bank
from esteemcore.simulate.detector import Detector


def scan_to_specimen(
    positions_nm: ArrayLike, rotation_deg: float = 0.0, origin_nm: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    r"""Return scan positions in the frame of specimen and detector: :math:`R(\theta) r + r_0`, in nm.

    Parameters
    ----------
    positions_nm : array_like, shape (n, 2)
        Positions (row, column) along the axes of the scan in nm.
    rotation_deg : float
        Rotation of the scan against the detector, R = [[cos, -sin], [sin, cos]] on (row, column).
    origin_nm : tuple of float
        Specimen position (row, column) of scan position (0, 0) in nm.
    """
    positions = np.asarray(positions_nm, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ParameterError(f"positions have shape {positions.shape}; expected (n, 2): row and column in nm")
    if not np.isfinite(positions).all():
        raise ParameterError("positions hold values that are not finite; expected nm")
    angle = np.deg2rad(checks.finite("rotation_deg", rotation_deg, "degrees"))
    origin = np.array([checks.finite("origin_nm", value, "nm") for value in origin_nm])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed: NDArray[np.float64] = positions @ rotation.T + origin
    return placed


class FrameSampler:
    """A counting detector that sees one electron after the other.

    Electrons per frame are Poisson-distributed. Each takes one of the four patterns around the probe with the bilinear
    weight, so that the mean frame is the bilinear interpolation of the bank. Every frame has its own random numbers,
    by the seed and its number in the series: the frames do not depend on how the calls are cut.

    Parameters
    ----------
    bank : Bank
        Expected patterns.
    detector : Detector
        Shape, pixel size and centre.
    rotation_deg : float
        Rotation of the scan against the detector in degrees: q_det = R(rotation) q_scan.
    origin_nm : tuple of float
        Specimen position (row, column) of scan position (0, 0) in nm.
    seed : int
        Seed of the series.
    efficiency : float
        Probability, 0 to 1, that an electron is detected.
    dark_per_frame : float
        Mean number of false counts per frame, spread evenly over the detector.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import simulate
    >>> patterns = simulate.bank(simulate.specimen("vacuum"), simulate.Beam(200, 15))
    >>> sampler = simulate.FrameSampler(patterns, simulate.Detector((256, 256), pixel_mrad=0.2), seed=1)
    >>> sampler.frames(np.zeros((3, 2)), electrons_per_frame=18).shape
    (3, 256, 32)
    """

    def __init__(
        self,
        bank: Bank,
        detector: Detector,
        *,
        rotation_deg: float = 0.0,
        origin_nm: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        efficiency: float = 1.0,
        dark_per_frame: float = 0.0,
    ) -> None:
        self.bank = bank
        self.detector = detector
        self.rotation_deg = checks.finite("rotation_deg", rotation_deg, "degrees")
        self.origin_nm = (
            checks.finite("origin_nm", origin_nm[0], "nm"),
            checks.finite("origin_nm", origin_nm[1], "nm"),
        )
        self.seed = checks.integer("seed", seed, minimum=0, maximum=2**63 - 1)
        self.efficiency = checks.not_negative("efficiency", efficiency)
        if self.efficiency > 1:
            raise ParameterError(f"efficiency is {efficiency:g}; expected a fraction from 0 to 1")
        self.dark_per_frame = checks.not_negative("dark_per_frame", dark_per_frame)
        if bank.intensity.shape[-1] > 65535:
            raise ParameterError(
                f"the bank holds {bank.intensity.shape[-1]} cells per pattern; the sampler takes 65535: lower "
                f"max_angle_mrad or extent_nm"
            )
        self._tally = np.zeros(3, np.int64)
        self._next = 0
        self._lock = threading.Lock()
        # cells are placed along the detector's axes: a flipped detector's rows run along the specimen's columns
        order = (1, 0) if detector.flip else (0, 1)
        pixel, center = np.asarray(detector.pixel_mrad, float), np.asarray(detector.center, float)
        self._waves = np.ascontiguousarray(bank.waves[:, order] - 0.5, np.float32)
        self._lens = np.concatenate([np.asarray(bank.step_mrad)[list(order)] / pixel, center + 0.5])

    @property
    def n_frames(self) -> int:
        """Frames drawn so far; the next frame has this number in the series."""
        return self._next

    @property
    def electrons(self) -> int:
        """Electrons that would have been detected so far by a detector without borders."""
        return int(self._tally[0])

    @property
    def lost(self) -> int:
        """Electrons that missed the detector so far."""
        return int(self._tally[1])

    @property
    def dark(self) -> int:
        """Dark counts so far."""
        return int(self._tally[2])

    def rewind(self, frame: int = 0) -> None:
        """Go back (or ahead) to a frame of the series."""
        self._next = checks.integer("frame", frame, minimum=0)

    def specimen_positions(self, positions_nm: ArrayLike) -> NDArray[np.float64]:
        """Return scan positions in nm in the frame of the specimen, see `scan_to_specimen`."""
        return scan_to_specimen(positions_nm, self.rotation_deg, self.origin_nm)

    def frames(
        self, positions_nm: ArrayLike, electrons_per_frame: ArrayLike, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Draw packed one-bit frames: a pixel is set when one or more electrons hit it.

        Parameters
        ----------
        positions_nm : array_like, shape (n, 2)
            Probe positions (row, column) in the frame of the scan in nm.
        electrons_per_frame : array_like
            Mean number of electrons that the beam delivers per frame: a number or one per frame.
        out : ndarray of uint8, shape (n, ky, ceil(kx / 8)), optional
            Memory to write into.

        Returns
        -------
        ndarray of uint8, shape (n, ky, ceil(kx / 8))
            Little-endian bit order along a row.
        """
        positions, means = self._prepare(positions_nm, electrons_per_frame)
        shape = (len(positions), *self.detector.packed_shape)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ParameterError(
                f"out has shape {out.shape} and dtype {out.dtype}; expected {shape}, uint8, contiguous in memory"
            )
        with self._lock:
            arguments = (*self._arguments(positions, means), out.reshape(len(positions), shape[1] * shape[2]))
            _kernels.draw_bits(*arguments)
            self._next += len(positions)
        return out

    def events(self, positions_nm: ArrayLike, electrons_per_frame: ArrayLike) -> EventTable:
        """Draw counting frames, as event tables; the same electrons that `frames` would draw.

        Parameters
        ----------
        positions_nm, electrons_per_frame
            See `frames`.

        Returns
        -------
        esteemcore.events.EventTable
        """
        positions, means = self._prepare(positions_nm, electrons_per_frame)
        offset = np.zeros(len(positions) + 1, np.int64)
        with self._lock:
            arguments = (*self._arguments(positions, means), offset)
            pixel, count = _kernels.draw_events(*arguments)
            self._next += len(positions)
        return EventTable(offset, pixel, count)

    def mean_frames(self, positions_nm: ArrayLike) -> NDArray[np.float64]:
        """Return the expected frames per electron of the beam, without dark counts, shape (n, ky, kx).

        A cell of reciprocal space spreads evenly over the detector pixels that it overlaps.
        """
        positions = self._bank_positions(positions_nm)
        corner = np.floor(positions).astype(np.int64)
        weight = positions - corner
        overlap = [self._overlap(axis) for axis in (0, 1)]
        frames = np.empty((len(positions), *self.detector.shape))
        for f, (at, (v, u)) in enumerate(zip(corner, weight, strict=True)):
            rows, columns = (np.array([at[i], at[i] + 1]) % self.bank.intensity.shape[i] for i in (0, 1))
            around = self.bank.intensity[np.ix_(rows, columns)].astype(np.float64)
            pattern = np.einsum("ijn,i,j->n", around, [1 - v, v], [1 - u, u])
            picture = self.bank.image(pattern)
            frames[f] = overlap[0] @ (picture.T if self.detector.flip else picture) @ overlap[1].T
        return frames * self.efficiency

    def _overlap(self, axis: int) -> NDArray[np.float64]:
        """Return the part of each cell of reciprocal space (columns) that lies in each pixel (rows) along an axis."""
        source = 1 - axis if self.detector.flip else axis
        half = int(np.abs(self.bank.waves[:, source]).max())
        scale, center = self._lens[axis], self._lens[2 + axis]
        edges = (np.arange(-half, half + 2) - 0.5) * scale + center
        pixel = np.arange(self.detector.shape[axis])[:, None]
        part = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
        overlap: NDArray[np.float64] = np.maximum(part, 0) / scale
        return overlap

    def _bank_positions(self, positions_nm: ArrayLike) -> NDArray[np.float64]:
        positions = self.specimen_positions(positions_nm) / self.bank.spacing_nm
        return np.ascontiguousarray(positions)

    def _prepare(
        self, positions_nm: ArrayLike, electrons_per_frame: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        positions = self._bank_positions(positions_nm)
        electrons = np.asarray(electrons_per_frame, np.float64)
        if electrons.ndim > 1 or (electrons.ndim == 1 and len(electrons) != len(positions)):
            raise ParameterError(
                f"electrons_per_frame has shape {electrons.shape}; expected a number or one per position "
                f"({len(positions)})"
            )
        if not np.isfinite(electrons).all() or (electrons < 0).any() or (electrons > 1e9).any():
            raise ParameterError("electrons_per_frame holds values that are negative, not finite or above 1e9")
        return positions, np.array(np.broadcast_to(electrons * self.efficiency, len(positions)))

    def _arguments(self, positions: NDArray[np.float64], means: NDArray[np.float64]) -> tuple[Any, ...]:
        return (
            self.seed,
            self._next,
            positions,
            means,
            self.dark_per_frame,
            self.bank.outside.shape,
            self.bank.alias,
            self._waves,
            self._lens,
            self.detector.shape,
            self._tally,
        )
