"""What a data item that came from a container still knows of it: scan, frames, geometry and all that was noted."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from nionswift_plugin.esteem_process import frame_columns
from nionswift_plugin.esteem_scan import binding

NEW = ("created", "title")
"""What a data set does not take over from the container that a data item came from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """The container that a data item came from, as far as it still holds for the data item.

    Attributes
    ----------
    entry : mapping
        What the data item's metadata say of it; empty where it came from elsewhere.
    scan : ScanRecord or None
        The scan, where the data item still has its positions.
    series : SeriesRecord or None
        What is known of the frames, where the data item still has all of them.
    counts : ndarray of float64, shape (frames,), or None
        Sum of each frame.
    geometry, of_data_set, of_signal : dict
        Geometry and metadata.
    """

    entry: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scan: io.ScanRecord | None = None
    series: io.SeriesRecord | None = None
    counts: NDArray[np.float64] | None = None
    geometry: dict[str, Any] = dataclasses.field(default_factory=dict)
    of_data_set: dict[str, Any] = dataclasses.field(default_factory=dict)
    of_signal: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, metadata: Mapping[str, Any], signal: io.Signal) -> Origin:
        """Return what the metadata of a data item say, where it fits the data.

        Parameters
        ----------
        metadata : mapping
            Of the data item.
        signal : Signal
            What it is now.
        """
        ours = metadata.get(binding.KEY)
        entry = ours.get("container") if isinstance(ours, Mapping) else None
        if not isinstance(entry, Mapping):
            return cls()
        scan = frame_columns.scan_of(entry.get("scan"))
        if scan is not None and not _fits(scan, signal):
            scan = None
        series, counts = frame_columns.series_of(entry.get("series"))
        if series is not None and (signal.axes[0].name != "frame" or len(series) != signal.axes[0].size):
            series = counts = None
        geometry = entry.get("geometry")
        return cls(
            entry,
            scan,
            series,
            counts,
            dict(geometry) if isinstance(geometry, Mapping) else {},
            {key: value for key, value in _noted(entry, "of_data_set").items() if key not in NEW},
            _noted(entry, "of_signal"),
        )

    def signal_name(self, title: str) -> str:
        """Return the name of the signal, where a data item still has the title that was made from it, else the title.

        Parameters
        ----------
        title : str
            Of the data item: the name, with the container in brackets where it has no other signal.
        """
        name = self.entry.get("signal")
        return name if isinstance(name, str) and title.startswith(f"{name} (") else title


def common(origins: Mapping[str, Origin], signals: Mapping[str, io.Signal]) -> Origin:
    """Return scan, series and geometry of all data items; None what they do not agree on, or what does not fit one.

    Parameters
    ----------
    origins, signals : mapping of str to Origin or Signal
        By the names of the signals.
    """
    known = [origin for origin in origins.values() if origin.entry]
    agreed = [
        name for name in ("scan", "geometry") if all(o.entry.get(name) == known[0].entry.get(name) for o in known)
    ]
    scan = next((o.scan for o in known if o.scan is not None), None) if "scan" in agreed else None
    if scan is not None and not all(_fits(scan, s) for s in signals.values() if s.in_visit_order):
        scan = None
    series = _series(origins)
    frames = {signal.axes[0].size for signal in signals.values() if signal.axes[0].name == "frame"}
    return Origin(
        scan=scan,
        series=series if series is not None and frames == {len(series)} else None,
        geometry=known[0].geometry if known and "geometry" in agreed else {},
    )


def _series(origins: Mapping[str, Origin]) -> io.SeriesRecord | None:
    """Return what is known of the frames, with the counts of all signals, where all data items say the same."""
    known = {name: origin for name, origin in origins.items() if origin.series is not None}
    columns = [{**origin.entry["series"], "counts": None} for origin in known.values()]
    if not columns or any(other != columns[0] for other in columns):
        return None
    series = next(iter(known.values())).series
    counts = {name: origin.counts for name, origin in known.items() if origin.counts is not None}
    return None if series is None else dataclasses.replace(series, counts=counts)


def _fits(scan: io.ScanRecord, signal: io.Signal) -> bool:
    """Return whether a signal still has the positions of a scan, or a frame for each of its visits."""
    if signal.in_visit_order:
        columns = (scan.index, scan.visit, scan.time_s, scan.positions)
        lengths = {len(column) for column in columns if column is not None}
        return lengths <= {signal.axes[0].size}
    sizes = {axis.name: axis.size for axis in signal.axes}
    return (sizes.get("y"), sizes.get("x")) == scan.shape


def without(metadata: Mapping[str, Any], names: Container[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a data item without entries of these names, and without what is said elsewhere."""
    ours = metadata.get(binding.KEY)
    entry = ours.get("container") if isinstance(ours, Mapping) else None
    if not isinstance(ours, Mapping) or not isinstance(entry, Mapping):
        return dict(metadata)
    rest = {
        key: value
        for key, value in entry.items()
        if key not in names and not (key in said and said[key] == value and key not in ("of_data_set", "of_signal"))
    }
    return {**metadata, binding.KEY: {**ours, "container": rest}}


def _noted(entry: Mapping[str, Any], names: str) -> dict[str, Any]:
    listed = entry.get(names)
    return {key: entry[key] for key in listed if key in entry} if isinstance(listed, list) else {}
