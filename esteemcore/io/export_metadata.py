"""The metadata of a data set as HyperSpy arranges them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore import __version__
from esteemcore._core.errors import ParameterError
from esteemcore.io import container
from esteemcore.io.dataset import Dataset, Signal

OURS = "Esteem"
"""Key of what HyperSpy has no place for: provenance, geometry, scan, series, credits, loss."""

_THEIRS = ("General", "Signal", "Acquisition_instrument", "Sample", "Stage", "_HyperSpy", "Markers")


def hyperspy_metadata(
    dataset: Dataset, name: str, signal: Signal, signal_type: str, *, in_visit_order: bool
) -> dict[str, Any]:
    """Return the metadata of one signal.

    Parameters
    ----------
    dataset : Dataset
        What it is part of.
    name : str
        Its name.
    signal : Signal
        The signal; what the file of another program said of it is kept.
    signal_type : str
        Its kind.
    in_visit_order : bool
        Write the visit order of the frames.
    """
    said = {key: _clean(signal.metadata[key]) for key in _THEIRS[:5] if isinstance(signal.metadata.get(key), Mapping)}
    made: dict[str, Any] = {
        **said,
        "General": {**said.get("General", {}), **_general(dataset, name)},
        "Signal": {**said.get("Signal", {}), "signal_type": signal_type},
        OURS: _ours(dataset, name, signal, in_visit_order),
    }
    if microscope := _microscope(dataset, said):
        made["Acquisition_instrument"] = microscope
    credits = _credits(dataset)
    sample = {**said.get("Sample", {})}
    if isinstance(dataset.metadata.get("specimen"), Mapping):
        sample = {**_clean(dataset.metadata["specimen"]), **sample}
    if credits.get("sample"):
        sample["description"] = credits["sample"]
    if sample:
        made["Sample"] = sample
    return made


def _general(dataset: Dataset, name: str) -> dict[str, Any]:
    credits, known = _credits(dataset), dataset.metadata
    title = str(credits.get("title") or known.get("title") or name).replace("/", "-")
    people = "; ".join(str(author["name"]) for author in credits.get("authors") or ())
    entries: dict[str, Any] = {
        "title": title,
        "authors": people or known.get("authors"),
        "notes": credits.get("description"),
        "date": known.get("date"),
        "time": known.get("time"),
    }
    identifiers = credits.get("identifiers") or ()
    entries["doi"] = next((i for i in identifiers if "10." in i), None)
    moment = _acquired(known)
    if moment is not None and not entries["date"]:
        entries |= {"date": f"{moment:%Y-%m-%d}", "time": f"{moment:%H:%M:%S}", "time_zone": "UTC"}
    return {key: str(value) for key, value in entries.items() if value}


def _acquired(known: Mapping[str, Any]) -> datetime.datetime | None:
    """Return when the data were taken: when their first container was made, if it was made by an acquisition."""
    made = known.get("provenance")
    while isinstance(made, Mapping) and isinstance(made.get("before"), Mapping):
        made = made["before"]
    if not isinstance(made, Mapping) or made.get("function") not in ("io.Writer", "io.SeriesWriter"):
        return None
    try:
        return datetime.datetime.fromisoformat(str(known.get("created"))).astimezone(datetime.UTC)
    except ValueError:
        return None


def _microscope(dataset: Dataset, said: Mapping[str, Any]) -> dict[str, Any]:
    instrument = dict(said.get("Acquisition_instrument", {}))
    key = "SEM" if "SEM" in instrument and "TEM" not in instrument else "TEM"
    entries: dict[str, Any] = {}
    for theirs, ours in (("beam_energy", "beam_energy_kev"), ("convergence_angle", "semiangle_mrad")):
        if dataset.geometry.get(ours) is not None:
            entries[theirs] = float(dataset.geometry[ours])
    if named := _credits(dataset).get("instrument"):
        entries["microscope"] = str(named)
    if dataset.scan is not None and dataset.scan.dwell_s is not None:
        entries["dwell_time"] = dataset.scan.dwell_s
    before = instrument.get(key)
    if entries or before:
        instrument[key] = {**(before if isinstance(before, Mapping) else {}), **entries}
    return instrument


def _ours(dataset: Dataset, name: str, signal: Signal, in_visit_order: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"version": __version__, "signal": name, "kind": signal.kind}
    for key in ("provenance", "credits", "chain"):
        if dataset.metadata.get(key) is not None:
            made[key] = json.dumps(container.plain(dataset.metadata[key]))
    for key in ("loss", "provenance"):
        if signal.metadata.get(key) is not None:
            made[f"signal_{key}"] = json.dumps(container.plain(signal.metadata[key]))
    if dataset.geometry:
        made["geometry"] = _clean(dataset.geometry)
    if dataset.scan is not None:
        scan = {key: getattr(dataset.scan, key) for key in ("shape", "dwell_s", "flyback_s", "step_nm", "rotation_deg")}
        made["scan"] = _clean(scan)
        if in_visit_order:
            for key in ("index", "visit", "time_s", "positions"):
                if getattr(dataset.scan, key) is not None:
                    made["scan"][key] = np.asarray(getattr(dataset.scan, key))
    if dataset.series is not None and signal.axes[0].name == "frame":
        columns = {key: getattr(dataset.series, key) for key in ("time_s", "energy_offset_ev", "tilt_deg")}
        made["series"] = {key: np.asarray(value) for key, value in columns.items() if value is not None}
    return made


def _credits(dataset: Dataset) -> dict[str, Any]:
    try:
        credits = dataset.credits
    except ParameterError:  # damaged ones are shown by info; the data are exported all the same
        return {}
    return {} if credits is None else dict(container.plain(credits))


def _clean(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries that every writer takes: numbers, words, flat lists of one kind, and more such entries."""
    made: dict[str, Any] = {}
    for key, value in container.plain(entries).items():
        if key in ("_HyperSpy", "Markers") or value is None or value in ({}, []):
            continue
        if isinstance(value, Mapping):
            made[key] = _clean(value)
        elif isinstance(value, list) and len({type(item) for item in value} - {dict, list}) != 1:
            made[key] = json.dumps(value)
        else:
            made[key] = value
    return made
