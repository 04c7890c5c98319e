"""The order of the visits as plain JSON inside Nion's scan parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from nion.instrumentation import scan_base

from esteemcore import scan
from esteemcore.errors import ParameterError

KEY = "esteem_scan"
"""Key of the plan in the scan parameters, and in ``metadata["scan"]["scan_device_parameters"]``."""

SYNCHRONIZED = "external_clock_mode"
"""Nion's key for scans that a camera drives."""

PATTERNS = ("raster", "serpentine", "interlaced", "hilbert", "spiral", "shuffled", "sparse")
"""Names that `ScanPlan.pattern` knows; they are those of `esteemcore.scan`."""

Blank = Literal["never", "frames", "positions"]
BLANK = ("never", "frames", "positions")


@dataclasses.dataclass(frozen=True)
class ScanPlan:
    """Where the beam goes and how, beside what Nion's own parameters say (size, field of view, dwell time).

    Parameters
    ----------
    pattern : str
        One of `PATTERNS`.
    seed : int
        Seed of a random order. Frame k of a series uses ``seed + k`` where ``reseed`` is on.
    fraction : float
        Part of the positions to visit; below 1 for ``"sparse"`` and ``"shuffled"`` only.
    method : str
        How ``"sparse"`` chooses positions, see `esteemcore.scan.sparse`.
    step : int
        Row distance of ``"interlaced"``.
    grid : (int, int) or None
        Rows and columns on which the positions lie, where Nion's size is only a container for the visits (a sparse
        synchronized scan, see `synchronized`). None: Nion's size.
    reseed : bool
        A new order for every frame of a series.
    frame : int
        Number of the frame in its series; counted by the scan device.
    settle_us, flyback_us : float
        Wait before each dwell, and time of one return of the beam, in µs. Nion's flyback pixels are never used.
    blank : {"never", "frames", "positions"}
        When the beam is blanked: not between the frames of a live view, between frames, or also while it moves.

    Raises
    ------
    ParameterError
        If a value is not of its kind.
    """

    pattern: str = "raster"
    seed: int = 0
    fraction: float = 1.0
    method: str = "uniform"
    step: int = 4
    grid: tuple[int, int] | None = None
    reseed: bool = True
    frame: int = 0
    settle_us: float = 0.0
    flyback_us: float = 50.0
    blank: Blank = "frames"

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ParameterError(f"pattern is {self.pattern!r}; expected one of {', '.join(PATTERNS)}")
        if self.blank not in BLANK:
            raise ParameterError(f"blank is {self.blank!r}; expected one of {', '.join(BLANK)}")
        if not 0 < self.fraction <= 1:
            raise ParameterError(f"fraction is {self.fraction:g}; expected more than 0 and at most 1")
        if self.fraction < 1 and self.pattern not in ("sparse", "shuffled"):
            raise ParameterError(f"a {self.pattern} scan visits every position; use pattern='sparse' for a fraction")
        if min(self.settle_us, self.flyback_us) < 0:
            raise ParameterError("settle_us and flyback_us are times in µs; expected zero or more")
        if self.grid is not None:
            object.__setattr__(self, "grid", (int(self.grid[0]), int(self.grid[1])))

    @classmethod
    def of(cls, parameters: scan_base.ScanFrameParameters | Mapping[str, Any]) -> ScanPlan:
        """Read the plan from scan parameters or from their stored form; a raster if there is none."""
        stored = parameters.get(KEY) if isinstance(parameters, Mapping) else parameters.get_parameter(KEY)
        if stored is None:
            return cls()
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(stored) - known)
        if unknown:
            raise ParameterError(f"the scan plan holds {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        return cls(**stored)

    def put(self, parameters: scan_base.ScanFrameParameters) -> None:
        """Write the plan into scan parameters."""
        parameters.set_parameter(KEY, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        stored = dataclasses.asdict(self)
        if self.grid is None:
            del stored["grid"]
        else:
            stored["grid"] = list(self.grid)
        return stored

    def visits(self, shape: Sequence[int]) -> scan.ScanPattern:
        """Return the visits of one frame.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of Nion's scan; `grid` comes first where it is set.
        """
        ny, nx = self.grid if self.grid is not None else (int(shape[0]), int(shape[1]))
        return _visits(dataclasses.replace(self, grid=(ny, nx)))


@functools.lru_cache(maxsize=16)
def _visits(plan: ScanPlan) -> scan.ScanPattern:
    shape = plan.grid or (1, 1)
    seed = plan.seed + plan.frame if plan.reseed else plan.seed
    if plan.pattern == "shuffled":
        full = scan.shuffled(shape, seed=seed)
        count = max(1, round(plan.fraction * shape[0] * shape[1]))
        if count == len(full):
            return full
        return scan.ScanPattern(shape, full.order[:count], "shuffled", seed)
    if plan.pattern == "sparse":
        return scan.sparse(shape, plan.fraction, seed=seed, method=plan.method)  # type: ignore[arg-type]
    if plan.pattern == "interlaced":
        return scan.interlaced(shape, plan.step)
    ordered: dict[str, Callable[[Sequence[int]], scan.ScanPattern]] = {
        "raster": scan.raster,
        "serpentine": scan.serpentine,
        "hilbert": scan.hilbert,
        "spiral": scan.spiral,
    }
    return ordered[plan.pattern](shape)


def synchronized[P: scan_base.ScanFrameParameters](parameters: P) -> tuple[P, scan.ScanPattern]:
    """Return parameters for a synchronized acquisition, and the visits of its first frame.

    Nion counts the frames of a synchronized acquisition by the size of the scan. A scan that leaves positions out
    gets a container of as many pixels as there are visits, in time order, and the true shape goes into the plan.

    Parameters
    ----------
    parameters : ScanFrameParameters
        What the user has set; not changed.
    """
    changed = type(parameters)(parameters.as_dict())
    changed.clear_parameter(SYNCHRONIZED)
    plan = dataclasses.replace(ScanPlan.of(parameters), frame=0)
    size = parameters.scan_size
    pattern = plan.visits((size.height, size.width))
    if plan.grid is None and len(pattern) != size.height * size.width:
        plan = dataclasses.replace(plan, grid=(size.height, size.width))
        columns = max(divisor for divisor in range(1, 257) if len(pattern) % divisor == 0)
        container = (len(pattern) // columns, columns)
        if changed.subscan_pixel_size:
            changed.subscan_pixel_size = container
        else:
            changed.pixel_size = container
    plan.put(changed)
    return changed, pattern


def prepare_next_frame(parameters: scan_base.ScanFrameParameters) -> None:
    """Mark parameters that Nion keeps for a series as synchronized, and count its frames up in the plan."""
    if parameters.get_parameter(SYNCHRONIZED, 0):
        plan = ScanPlan.of(parameters)
        dataclasses.replace(plan, frame=plan.frame + 1).put(parameters)
    parameters.set_parameter(SYNCHRONIZED, 1)
