"""Going on with a region of an earlier day: its place, pixels, times and signals as they were."""

from __future__ import annotations

from typing import Any

from esteemcore import multiframe
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_multiframe.model import MultiframeModel

_SAME = (
    "subpixels", "seed", "areas", "area_gap_nm", "energy_step_ev", "compress",
)  # fmt: skip


def last_folders(session: multiframe.SessionFolder) -> list[multiframe.RegionFolder]:
    """Return the folders of the last areas that were recorded as one experiment, the first area first.

    Raises
    ------
    ParameterError
        If the session has no region yet.
    """
    regions = session.regions
    if not regions:
        raise ParameterError("the session folder has no region yet")
    count = _area(regions[-1]) + 1
    found = list(regions[-count:])
    return found if [_area(folder) for folder in found] == list(range(count)) else [regions[-1]]


def _area(folder: multiframe.RegionFolder) -> int:
    """Return the how manyth area of its experiment a region is, from 0."""
    try:
        return next((int(dataset.metadata.get("area", 0)) for _, dataset in folder.datasets()), 0)
    except (ValueError, TypeError, EsteemError):
        return 0


def take_over(model: MultiframeModel, folder: multiframe.RegionFolder) -> tuple[str, ...] | None:
    """Set the panel as it was for the last frames of a region.

    Returns the signals that were recorded and that no detector gives now; None if the frames do not tell how it was.

    The probe current is that of the instrument, now.

    Parameters
    ----------
    model : MultiframeModel
    folder : RegionFolder
    """
    try:
        *_, (_, dataset) = folder.datasets()
        entry: Any = dataset.metadata["multiframe"]
        last = entry.get("runs", [entry])[-1]
        region, settings = last["region"], multiframe.SeriesSettings.from_dict(last["settings"])
        place = multiframe.Region(
            tuple(region["shape"]), region["pixel_size_nm"], tuple(last["center_nm"]), region["rotation_deg"]
        )
    except (ValueError, KeyError, IndexError, TypeError, EsteemError):
        return None
    has_frames = any(folder.path.glob("camera_*.esteem"))
    for slot, detector in enumerate(model.detectors):
        recorded = has_frames if detector.kind == "frames" else detector.key in last["signals"]
        getattr(model, f"slot{slot}_chosen").value = recorded
    model.set_region(place.fov_nm, place.center_nm, place.rotation_deg)
    values = {name: getattr(settings, name) for name in _SAME} | {
        "pixel_size_nm": float(f"{place.pixel_size_nm:.9g}"),
        "dwell_us": float(f"{settings.dwell_s * 1e6:.9g}"),
        "flyback_us": float(f"{settings.flyback_s * 1e6:.9g}"),
        "frames": settings.frames,
        "order_index": multiframe.ORDERS.index(settings.order),
    }
    for name, value in values.items():
        getattr(model, name).value = value
    there = {detector.key for detector in model.detectors if detector.kind != "frames"}
    lacking = [name for name in last["signals"] if name not in there]
    if has_frames and not any(detector.kind == "frames" for detector in model.detectors):
        lacking.append("the 4D camera")
    return tuple(lacking)
