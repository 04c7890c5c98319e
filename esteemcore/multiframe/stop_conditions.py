"""When a series has enough: what was wanted is there, or a limit is reached."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


@dataclasses.dataclass(frozen=True)
class StopConditions:
    """What to stop for.

    `snr` and `components` are goals: the series has enough when **all** that are given are reached. `total_dose` and
    `drift_nm` are limits: each ends the series by itself.

    Parameters
    ----------
    snr : mapping of str to float
        Signal-to-noise ratio that each map shall have, see `MeasuredMap`.
    components : int, optional
        Components that shall surely be above noise, their number told exactly or not.
    total_dose : float, optional
        Dose in e/Å² that the specimen may get, frames that are left out included: no frame is begun that exceeds it.
    drift_nm : float, optional
        How far a frame may lie from the first one, in nm.

    Raises
    ------
    ParameterError
        If a value is impossible.

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> stop = multiframe.StopConditions(snr={"Ti": 5}, total_dose=1e6)
    >>> stop.reached(snr={"Ti": 4.2}, dose=2e5)
    >>> stop.reached(snr={"Ti": 5.3}, dose=3e5)
    'enough: SNR of Ti 5.3 (5 wanted)'
    >>> stop.reached(snr={"Ti": 4.9}, dose=9e5, next_dose=2e5)
    'the next frame would exceed the dose of 1e+06 e/Å²; the specimen has had 9e+05'
    """

    snr: Mapping[str, float] = dataclasses.field(default_factory=dict)
    components: int | None = None
    total_dose: float | None = None
    drift_nm: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.snr, Mapping):
            raise ParameterError(f"snr is {self.snr!r}; expected a ratio for each map, by name")
        wanted = {str(name): checks.positive(f"snr of {name}", value) for name, value in self.snr.items()}
        object.__setattr__(self, "snr", wanted)
        if self.components is not None:
            object.__setattr__(self, "components", checks.integer("components", self.components, minimum=1))
        for name, unit in (("total_dose", "e/Å²"), ("drift_nm", "nm")):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.positive(name, getattr(self, name), unit))

    def check_names(self, maps: Sequence[str]) -> None:
        """Refuse ratios of maps that are not made.

        Raises
        ------
        ParameterError
            With the names of those that are.
        """
        unknown = [name for name in self.snr if name not in maps]
        if unknown:
            there = ", ".join(maps) or "none"
            raise ParameterError(f"snr is asked of {', '.join(unknown)}, but the maps are {there}; name one of them")

    def reached(
        self,
        *,
        snr: Mapping[str, float] | None = None,
        components: int | None = None,
        dose: float = 0.0,
        next_dose: float = 0.0,
        drift_nm: float = 0.0,
    ) -> str | None:
        """Return in words why it is enough, or None.

        Parameters
        ----------
        snr : mapping of str to float, optional
            What the maps have; NaN is not known yet.
        components : int, optional
            Components that are surely above noise; None if not known.
        dose, next_dose : float
            What the specimen has had, and what the next frame would add, e/Å².
        drift_nm : float
            Distance of the last frame from the first, nm.
        """
        if self.drift_nm is not None and drift_nm >= self.drift_nm:
            return f"the specimen has drifted {drift_nm:.3g} nm from the first frame, the limit is {self.drift_nm:g} nm"
        if words := self._goals_reached(snr or {}, components):
            return f"enough: {words}"
        if self.total_dose is None:
            return None
        if dose >= self.total_dose * (1 - 1e-9):
            return f"the specimen has had {dose:.3g} e/Å², the limit is {self.total_dose:.3g}"
        if dose + next_dose > self.total_dose * (1 + 1e-9):
            return (
                f"the next frame would exceed the dose of {self.total_dose:.3g} e/Å²; the specimen has had {dose:.3g}"
            )
        return None

    def _goals_reached(self, snr: Mapping[str, float], components: int | None) -> str:
        words = []
        for name, wanted in self.snr.items():
            has = snr.get(name, math.nan)
            if not has >= wanted:
                return ""
            words.append(f"SNR of {name} {has:.{1 if has < 10 else 0}f} ({wanted:g} wanted)")
        if self.components is not None:
            if components is None or components < self.components:
                return ""
            words.append(f"{components} components above noise ({self.components} wanted)")
        return ", ".join(words)
