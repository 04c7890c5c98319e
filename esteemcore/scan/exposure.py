"""What an acquisition costs: pixel charge, dose, dose rate and time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.scan.pattern import ScanPattern

ANGSTROM2_PER_NM2 = 100.0
ELEMENTARY_CHARGE_C: float = constants.e


def charge_e(current_pa: float, time_s: float) -> float:
    """Return the charge of a beam current in electrons, q = I t / e.

    Parameters
    ----------
    current_pa : float
        Beam current in pA.
    time_s : float
        Beam-on time in s.

    Examples
    --------
    >>> f"{charge_e(74, 10e-3):.3g}"
    '4.62e+06'
    """
    current_pa = checks.not_negative("current_pa", current_pa, "pA")
    time_s = checks.not_negative("time_s", time_s, "s")
    return current_pa * 1e-12 * time_s / ELEMENTARY_CHARGE_C


@dataclasses.dataclass(frozen=True)
class Exposure:
    r"""A planned or finished acquisition, with its doses in e/Å² over the whole area and its times in s.

    Parameters
    ----------
    current_pa : float
        Beam current in pA.
    dwell_s : float
        Dwell time per visit in s.
    pixel_size_nm : float or (float, float)
        Distance of scan positions in nm, or (row, column) distances.
    shape : (int, int)
        Rows and columns of the scan.
    frames : int
        Number of frames.
    flyback_s : float
        Time of one return of the beam in s. A raster has one per row; with ``pattern`` there is one per line of it
        (``pattern.line_starts``), none for a serpentine, Hilbert, spiral or shuffled scan.
    frame_overhead_s : float
        Time in s added to each frame: communication, return to the start of a pattern without lines.
    pattern : ScanPattern, optional
        The scan of each frame; a raster if absent.
    settle_s : float
        Wait in s before the dwell of each visit until the beam stands still. What a random scan needs at each jump;
        leave it 0 for patterns of small steps.
    blanked : bool
        Whether the beam is blanked during flyback, settling and overhead.

    Notes
    -----
    With n visits per frame, N frames, pixel size p and n_y x n_x positions,

    .. math::

        q = I t / e, \quad D_\mathrm{frame} = q n / (n_y n_x p^2), \quad D = N D_\mathrm{frame}, \quad
        T_\mathrm{frame} = n (t + t_\mathrm{settle}) + n_\mathrm{lines} t_\mathrm{flyback} + t_\mathrm{overhead}

    References
    ----------
    L. Jones et al., Managing dose-, damage- and data-rates in multi-frame spectrum-imaging, Microscopy 67 (2018) i98.

    Examples
    --------
    >>> plan = Exposure(current_pa=17, dwell_s=1e-3, pixel_size_nm=0.056, shape=(200, 200), frames=230, flyback_s=5e-3)
    >>> f"{plan.dose_per_frame:.4g} e/Å² in {plan.frame_time_s:.0f} s"
    '3.383e+05 e/Å² in 41 s'
    """

    current_pa: float
    dwell_s: float
    pixel_size_nm: float | tuple[float, float]
    shape: tuple[int, int]
    frames: int = 1
    flyback_s: float = 0.0
    frame_overhead_s: float = 0.0
    pattern: ScanPattern | None = None
    settle_s: float = 0.0
    blanked: bool = False

    def __post_init__(self) -> None:
        checked = {
            "current_pa": checks.positive("current_pa", self.current_pa, "pA"),
            "dwell_s": checks.positive("dwell_s", self.dwell_s, "s"),
            "pixel_size_nm": _pixel_size(self.pixel_size_nm),
            "shape": checks.shape_2d("shape", self.shape),
            "frames": checks.integer("frames", self.frames, minimum=1),
            "flyback_s": checks.not_negative("flyback_s", self.flyback_s, "s"),
            "frame_overhead_s": checks.not_negative("frame_overhead_s", self.frame_overhead_s, "s"),
            "settle_s": checks.not_negative("settle_s", self.settle_s, "s"),
            "blanked": bool(self.blanked),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.pattern is not None and not isinstance(self.pattern, ScanPattern):
            raise ParameterError(
                f"pattern is {type(self.pattern).__name__}; expected a ScanPattern, e.g. scan.hilbert(shape)"
            )
        if self.pattern is not None and self.pattern.shape != self.shape:
            raise ParameterError(f"pattern has shape {self.pattern.shape}, but the exposure has {self.shape}")

    @property
    def visits_per_frame(self) -> int:
        """Number of dwells in a frame."""
        return self.shape[0] * self.shape[1] if self.pattern is None else len(self.pattern)

    @property
    def lines_per_frame(self) -> int:
        """Number of flybacks in a frame."""
        return self.shape[0] if self.pattern is None else len(self.pattern.line_starts)

    @property
    def fov_nm(self) -> tuple[float, float]:
        """Height and width of the scanned area, in nm."""
        height, width = _pair(self.pixel_size_nm)
        return self.shape[0] * height, self.shape[1] * width

    @property
    def pixel_charge_e(self) -> float:
        """Charge of one dwell, in electrons."""
        return charge_e(self.current_pa, self.dwell_s)

    @property
    def dose_per_visit(self) -> float:
        """Dose of one dwell on the area of its own pixel, in e/Å²: what a visited position of a sparse scan gets."""
        height, width = _pair(self.pixel_size_nm)
        return self.pixel_charge_e / (height * width * ANGSTROM2_PER_NM2)

    @property
    def dose_per_frame(self) -> float:
        """Dose of the dwells of one frame, in e/Å² over the whole area."""
        return self.pixel_charge_e * self.visits_per_frame / self._area_a2

    @property
    def total_dose(self) -> float:
        """Dose of the dwells of all frames, in e/Å² over the whole area."""
        return self.frames * self.dose_per_frame

    @property
    def total_charge_e(self) -> float:
        """Charge on the specimen in electrons, flyback, settling and overhead included unless the beam is blanked."""
        seconds = self.frames * self.visits_per_frame * self.dwell_s if self.blanked else self.series_time_s
        return charge_e(self.current_pa, seconds)

    @property
    def total_dose_with_overhead(self) -> float:
        """Dose of all frames in e/Å², with flyback, settling and overhead unless the beam is blanked meanwhile."""
        return self.total_charge_e / self._area_a2

    @property
    def frame_time_s(self) -> float:
        """Time of one frame with flybacks, settling and overhead, in s."""
        dwells = self.visits_per_frame * (self.dwell_s + self.settle_s)
        return dwells + self.lines_per_frame * self.flyback_s + self.frame_overhead_s

    @property
    def series_time_s(self) -> float:
        """Time of all frames, in s."""
        return self.frames * self.frame_time_s

    @property
    def dose_rate_frame(self) -> float:
        """Dose of one frame over its beam-on dwell time, in e/Å²/s."""
        return self.dose_per_frame / (self.visits_per_frame * self.dwell_s)

    @property
    def dose_rate_series(self) -> float:
        """Total dose over the time of the series, in e/Å²/s."""
        return self.total_dose / self.series_time_s

    @property
    def _area_a2(self) -> float:
        height, width = self.fov_nm
        return height * width * ANGSTROM2_PER_NM2


def exposed_charge(
    exposure: Exposure, visits: ArrayLike | None = None, elapsed_s: float | None = None
) -> tuple[NDArray[np.float64] | float, float]:
    """Return the charge that an exposure really brought to the specimen, and its duration.

    Parameters
    ----------
    exposure : Exposure
        Current, times and field. Flyback, settling and overhead are spread over the field, unless it is blanked.
    visits : array_like, shape (y, x), optional
        Dwells that each position got, all frames together, if they were not those of the plan.
    elapsed_s : float, optional
        How long it took in s; by default in proportion to the visits.

    Returns
    -------
    charge : float or ndarray of float64, shape (y, x)
        Electrons: one number if they are spread evenly over the field, else per position.
    duration_s : float
        How long it took, in s.

    Raises
    ------
    ParameterError
        If visits do not fit the scan, or need more time than elapsed.
    """
    if visits is None and elapsed_s is None and exposure.pattern is None:
        return exposure.total_charge_e, exposure.series_time_s
    if visits is not None:
        counts = np.asarray(visits, dtype=np.float64)
        if counts.shape != exposure.shape or not np.isfinite(counts).all() or counts.min() < 0:
            raise ParameterError(
                f"visits have shape {counts.shape}; expected {exposure.shape}: "
                "the dwells that each position got, zero or more"
            )
    elif exposure.pattern is not None:
        counts = exposure.frames * exposure.pattern.visits.astype(np.float64)
    else:
        counts = np.full(exposure.shape, float(exposure.frames))
    dwells_s = float(counts.sum()) * exposure.dwell_s
    if elapsed_s is None:
        elapsed_s = dwells_s / (exposure.visits_per_frame * exposure.dwell_s) * exposure.frame_time_s
    elapsed_s = checks.not_negative("elapsed_s", elapsed_s, "s")
    if elapsed_s < dwells_s * (1 - 1e-6):
        raise ParameterError(f"elapsed_s is {elapsed_s:g} s, but the visits alone took {dwells_s:g} s; check both")
    rest_s = 0.0 if exposure.blanked else max(0.0, elapsed_s - dwells_s)
    return exposure.pixel_charge_e * counts + charge_e(exposure.current_pa, rest_s) / counts.size, elapsed_s


def current_for_dose(
    dose: float,
    dwell_s: float,
    pixel_size_nm: float | tuple[float, float],
    shape: Sequence[int],
    frames: int = 1,
    pattern: ScanPattern | None = None,
) -> float:
    """Return the beam current in pA that gives a wished total dose, flyback and overhead aside.

    Parameters
    ----------
    dose : float
        Total dose in e/Å² over the whole area.
    dwell_s, pixel_size_nm, shape, frames, pattern
        As in `Exposure`.

    Examples
    --------
    >>> f"{current_for_dose(200, dwell_s=1e-5, pixel_size_nm=0.02, shape=(256, 256)):.3f} pA"
    '0.128 pA'
    """
    dose = checks.positive("dose", dose, "e/Å²")
    size = checks.shape_2d("shape", shape)
    return dose / Exposure(1.0, dwell_s, pixel_size_nm, size, frames=frames, pattern=pattern).total_dose


def _pixel_size(value: object) -> float | tuple[float, float]:
    if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value):
        if np.shape(value) != (2,):
            raise ParameterError(f"pixel_size_nm is {value!r}; expected a number or a pair (row, column) in nm")
        return checks.positive("pixel_size_nm", value[0], "nm"), checks.positive("pixel_size_nm", value[1], "nm")
    return checks.positive("pixel_size_nm", value, "nm")


def _pair(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)
