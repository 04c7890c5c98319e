"""What a specimen may get, what it got, and the decisions to go beyond."""

from __future__ import annotations

import dataclasses

from esteemcore._core import checks
from esteemcore.scan.dose_map import ANGSTROM2_PER_NM2
from esteemcore.scan.field import Pair


@dataclasses.dataclass(frozen=True)
class DoseBudget:
    """What a specimen may get; None where there is no limit.

    Attributes
    ----------
    total_dose : float or None
        Largest dose of any place, all exposures together, in e/Å².
    dose_rate : float or None
        Largest dose per frame over its dwell time, in e/Å²/s.
    pixel_charge_e : float or None
        Largest charge of one dwell, in electrons.
    """

    total_dose: float | None = None
    dose_rate: float | None = None
    pixel_charge_e: float | None = None

    def __post_init__(self) -> None:
        for field, unit in (("total_dose", "e/Å²"), ("dose_rate", "e/Å²/s"), ("pixel_charge_e", "e")):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, checks.positive(field, getattr(self, field), unit))


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One exposure, or several in a row of the same kind and field (a live view).

    Attributes
    ----------
    kind : str
        What it was for: ``"acquisition"``, ``"live view"``, ``"survey"``, ``"focusing"``, ``"spoiled"``, ...
    center_nm, fov_nm : (float, float)
        Centre on the specimen, and height and width, in nm.
    rotation_deg : float
        Rotation of the field.
    charge_e : float
        Charge in electrons.
    duration_s : float
        How long it took, in s.
    time : str
        When it was added (the first of several), ISO 8601.
    note : str
        Remarks.
    count : int
        Number of exposures.
    """

    kind: str
    center_nm: Pair
    fov_nm: Pair
    rotation_deg: float
    charge_e: float
    duration_s: float
    time: str
    note: str = ""
    count: int = 1

    @property
    def mean_dose(self) -> float:
        """Dose over the whole field in e/Å²."""
        return self.charge_e / (self.fov_nm[0] * self.fov_nm[1] * ANGSTROM2_PER_NM2)


@dataclasses.dataclass(frozen=True)
class Override:
    """The decision to go on although the budget is exceeded.

    Attributes
    ----------
    exceeded : tuple of str
        What `DoseLedger.check` said.
    reason : str
        Why the user went on.
    time : str
        When, ISO 8601.
    """

    exceeded: tuple[str, ...]
    reason: str
    time: str
