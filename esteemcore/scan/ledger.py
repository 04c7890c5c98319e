"""The account of every exposure of a specimen, and the budget that it must keep."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.scan.budget import DoseBudget, LedgerEntry, Override
from esteemcore.scan.dose_map import DoseMap
from esteemcore.scan.exposure import Exposure, exposed_charge
from esteemcore.scan.field import extent, pair

VERSION = 1


class DoseLedger:
    """Add up every exposure of a specimen, whatever it was for, on a map of the specimen.

    Places are given in nm on the specimen, (row, column), stage and beam shift included: the same place must have the
    same coordinates all day. It may be used from several threads.

    Parameters
    ----------
    cell_nm : float
        Width of the finest cells of the map, see `DoseMap`.
    budget : DoseBudget, optional
        What the specimen may get.

    Examples
    --------
    >>> from esteemcore import scan
    >>> ledger = scan.DoseLedger(budget=scan.DoseBudget(total_dose=250))
    >>> plan = scan.Exposure(current_pa=0.13, dwell_s=1e-5, pixel_size_nm=0.02, shape=(256, 256))
    >>> ledger.check(plan, center_nm=(0, 0))
    ()
    >>> entry = ledger.add_exposure(plan, center_nm=(0, 0))
    >>> ledger.check(plan, center_nm=(0, 0))
    ('total dose: 203 e/Å² so far and 203 e/Å² planned make 406 e/Å²; the budget is 250 e/Å²',)
    """

    def __init__(self, cell_nm: float = 0.25, budget: DoseBudget | None = None) -> None:
        self.budget = DoseBudget() if budget is None else budget
        self._map = DoseMap(cell_nm)
        self._entries: list[LedgerEntry] = []
        self._overrides: list[Override] = []
        self._lock = threading.RLock()

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """What was added, in order."""
        return tuple(self._entries)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """When the user went beyond the budget, and why."""
        return tuple(self._overrides)

    @property
    def total_charge_e(self) -> float:
        """Charge of all exposures, in electrons."""
        return sum(entry.charge_e for entry in self.entries)

    @property
    def totals(self) -> dict[str, float]:
        """Charge in electrons by kind of exposure."""
        totals: dict[str, float] = {}
        for entry in self.entries:
            totals[entry.kind] = totals.get(entry.kind, 0.0) + entry.charge_e
        return totals

    def add(
        self,
        charge: ArrayLike,
        center_nm: Sequence[float],
        fov_nm: Sequence[float],
        *,
        rotation_deg: float = 0.0,
        kind: str = "acquisition",
        duration_s: float = 0.0,
        time: str | None = None,
        note: str = "",
    ) -> LedgerEntry:
        """Add an exposure by its charge; use `charge_e` for current times beam-on time.

        Parameters
        ----------
        charge : float or array_like, shape (y, x)
            Electrons, evenly over the field or per position.
        center_nm, fov_nm, rotation_deg
            The field, see `DoseMap.deposit`.
        kind : str
            What it was for. Exposures in a row of one kind, field and note are joined to one entry.
        duration_s : float
            How long it took, in s.
        time : str, optional
            ISO 8601; now, if absent.
        note : str
            Remarks.

        Returns
        -------
        LedgerEntry
            The entry that now holds it.
        """
        if not isinstance(kind, str) or not kind:
            raise ParameterError(f"kind is {kind!r}; expected a word such as 'acquisition', 'live view' or 'focusing'")
        duration_s = checks.not_negative("duration_s", duration_s, "s")
        center, fov = pair("center_nm", center_nm), extent("fov_nm", fov_nm)
        with self._lock:
            self._map.deposit(charge, center, fov, rotation_deg)
            total = float(np.sum(np.asarray(charge, dtype=np.float64)))
            entry = LedgerEntry(kind, center, fov, float(rotation_deg), total, duration_s, time or _now(), note)
            last = self._entries[-1] if self._entries else None
            if last is not None and _same_field(last, entry):
                entry = dataclasses.replace(
                    last,
                    charge_e=last.charge_e + total,
                    duration_s=last.duration_s + duration_s,
                    count=last.count + 1,
                )
                self._entries[-1] = entry
            else:
                self._entries.append(entry)
        return entry

    def add_exposure(
        self,
        exposure: Exposure,
        center_nm: Sequence[float],
        *,
        rotation_deg: float = 0.0,
        visits: ArrayLike | None = None,
        elapsed_s: float | None = None,
        kind: str = "acquisition",
        time: str | None = None,
        note: str = "",
    ) -> LedgerEntry:
        """Add what an acquisition really exposed.

        Parameters
        ----------
        exposure : Exposure
            Current, times and field. Flyback, settling and overhead are spread over the field, unless it is blanked.
        center_nm, rotation_deg
            Where the field was, see `DoseMap.deposit`.
        visits : array_like, shape (y, x), optional
            Dwells that each position got, if it was not the whole exposure: aborted, spoiled, sparse.
        elapsed_s : float, optional
            How long it took in s; the beam-on time beyond the dwells is overhead. By default in proportion to the
            visits.
        kind, time, note
            As in `add`.
        """
        charge, duration_s = exposed_charge(exposure, visits, elapsed_s)
        return self.add(
            charge, center_nm, exposure.fov_nm, rotation_deg=rotation_deg, kind=kind, duration_s=duration_s,
            time=time, note=note,
        )  # fmt: skip

    def dose_at(
        self, center_nm: Sequence[float], fov_nm: Sequence[float], rotation_deg: float = 0.0
    ) -> tuple[float, float]:
        """Return the mean and the largest dose of a field so far, in e/Å².

        Parameters
        ----------
        center_nm, fov_nm, rotation_deg
            The field, as in `add`.
        """
        with self._lock:
            return (
                self._map.mean(center_nm, fov_nm, rotation_deg),
                self._map.maximum(center_nm, fov_nm, rotation_deg),
            )

    def image(self, center_nm: Sequence[float], fov_nm: Sequence[float], shape: Sequence[int]) -> NDArray[np.float64]:
        """Return the dose of a field so far in e/Å², float64 (y, x): in each pixel the mean over its area."""
        with self._lock:
            return self._map.image(center_nm, fov_nm, shape)

    def check(self, planned: Exposure, center_nm: Sequence[float], rotation_deg: float = 0.0) -> tuple[str, ...]:
        """Return what a planned acquisition would exceed, in words; empty if it keeps the budget.

        The largest dose so far around the field and the largest planned dose are added up as if they met at one
        place: the total is never too small.
        """
        center = pair("center_nm", center_nm)
        exceeded = []
        if self.budget.total_dose is not None:
            plan = DoseMap(self._map.cell_nm)
            plan.deposit(exposed_charge(planned, None, None)[0], center, planned.fov_nm, rotation_deg)
            angle = np.deg2rad(rotation_deg)
            turned = np.abs([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ planned.fov_nm
            field = (float(turned[0]), float(turned[1]))
            before = self.dose_at(center, field)[1]
            more = max(plan.maximum(center, field), planned.total_dose_with_overhead)
            if before + more > self.budget.total_dose * (1 + 1e-9):
                exceeded.append(
                    f"total dose: {before:.3g} e/Å² so far and {more:.3g} e/Å² planned make {before + more:.3g} e/Å²; "
                    f"the budget is {self.budget.total_dose:.3g} e/Å²"
                )
        for name, value, limit, unit in (
            ("dose rate", planned.dose_rate_frame, self.budget.dose_rate, "e/Å²/s"),
            ("pixel charge", planned.pixel_charge_e, self.budget.pixel_charge_e, "e"),
        ):
            if limit is not None and value > limit * (1 + 1e-9):
                exceeded.append(f"{name}: {value:.3g} {unit} planned; the budget is {limit:.3g} {unit}")
        return tuple(exceeded)

    def override(self, exceeded: Sequence[str], reason: str) -> Override:
        """Record that the user goes on although the budget is exceeded, and why."""
        if not isinstance(reason, str) or not reason.strip():
            raise ParameterError("an override needs a reason in words; it is stored with the doses")
        decision = Override(tuple(exceeded), reason.strip(), _now())
        with self._lock:
            self._overrides.append(decision)
        return decision

    def dump(self) -> dict[str, Any]:
        """Return everything as a JSON-ready dictionary."""
        with self._lock:
            return {
                "version": VERSION,
                "budget": dataclasses.asdict(self.budget),
                "entries": [dataclasses.asdict(entry) for entry in self._entries],
                "overrides": [dataclasses.asdict(item) for item in self._overrides],
                "map": self._map.dump(),
            }

    @classmethod
    def load(cls, data: dict[str, Any]) -> DoseLedger:
        """Restore a ledger from what `dump` returned, also after a passage through JSON.

        Raises
        ------
        FormatError
            If the data are damaged or of a later version.
        """
        try:
            if data["version"] != VERSION:
                raise FormatError(f"the dose ledger has version {data['version']}; this Esteem reads version {VERSION}")
            ledger = cls(budget=DoseBudget(**data["budget"]))
            ledger._map = DoseMap.load(data["map"])
            for item in data["entries"]:
                places = {key: pair(key, item[key]) for key in ("center_nm", "fov_nm")}
                ledger._entries.append(LedgerEntry(**(item | places)))
            for item in data["overrides"]:
                ledger._overrides.append(Override(**(item | {"exceeded": tuple(item["exceeded"])})))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the stored dose ledger is damaged ({error!r})") from error
        return ledger


def _same_field(a: LedgerEntry, b: LedgerEntry) -> bool:
    names = ("kind", "center_nm", "fov_nm", "rotation_deg", "note")
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
