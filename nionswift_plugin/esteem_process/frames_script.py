"""A script and its data that repeat outside of Nion Swift what it found in 4D-STEM frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_process import beam_items, container_files, disk_items, frame_items
from nionswift_plugin.esteem_process.computations import bragg_disks, classify_frames, strain_map
from nionswift_plugin.esteem_process.unmix_script import inputs_of

_HEAD = '''"""{title}: {label}, as Nion Swift showed it.

Needs nionswift-esteem; writes {result} beside this file.
"""

from pathlib import Path

import numpy as np

from esteemcore import diffraction, io
from esteemcore.diffraction.distortion import ellipse_matrix

here = Path(__file__).parent
dataset = io.load(here / "{container}")
frames = dataset.signals["frames"].data
mask = {mask}
{radius}
'''

_CLASSIFY = """found = diffraction.classify(
    frames, radius, {classes}, binning={binning}, mask=mask, second_way={second_way}, seed={seed}, center={center}
)
print(found.reason)
for note in found.notes:
    print(note)
result = {{name: getattr(found, name) for name in ("labels", "confidence", "patterns", "fractions")}}
"""

_DISKS = """distortion = {distortion}
center = {beam}
disks = diffraction.find_disks(
    frames,
    radius,
    significance={significance},
    center={center},
    mask=mask,
    distortion=distortion,
    overlapping={overlapping},
)
print(len(disks), "disks")
for note in disks.notes:
    print(note)
result = {{name: getattr(disks, name) for name in ("frame", "y", "x", "intensity", "sigma_px", "score", "background")}}
"""

_STRAIN = """reference = {reference}
found = diffraction.strain(
    disks, frames.shape[:2], reference, distortion=distortion, center=center, least_disks={least_disks}
)
for note in found.notes:
    if note not in disks.notes:
        print(note)
result = {{name: getattr(found, name) for name in ("exx", "eyy", "exy", "rotation", "component_sigma")}}
"""

_MASK = 'np.asarray(dataset.signals["{name}"].data) > 0'
_FIND = """diffraction.find_descan(frames, radius, mask=mask, center="friedel")
for note in center.notes:
    print(note)"""
_RADIUS = """beam = diffraction.find_descan(frames, mask=mask, everywhere=False)
for note in beam.notes:
    print(note)
radius = beam.radius_px"""


def prepare(model: Any, computation: Any, path: Path) -> Callable[[], tuple[Path, Path]]:
    """Return what writes a script, and a container of what it works on beside it, from any thread.

    Parameters
    ----------
    model
        Nion's document model.
    computation
        A classification, a search for disks, or a map of strain.
    path : Path
        Of the script, ``*.py``. The container is called as it is, ``*.esteem``.

    Returns
    -------
    callable
        Writes and returns script and container; it may take long.

    Raises
    ------
    ParameterError
        If there is something already, or the inputs are gone.
    """
    script = container_files.named(path, ".py")
    container = script.with_suffix(container_files.FOLDER)
    for there in (script, container):
        if there.exists():
            raise ParameterError(f"{there} exists already; choose another name")
    of, body, more = computation, _CLASSIFY, dict[str, Any]()
    if computation.processing_id != classify_frames.ID:
        body = _DISKS
    if computation.processing_id == strain_map.ID:
        more = inputs_of(computation)
        of, body = frame_items.computation_of(model, more["table"], bragg_disks.ID), _DISKS + "\n" + _STRAIN
        if of is None:
            raise ParameterError("the search for the disks is gone; map the strain again")
    given = inputs_of(of)
    if given["src"] is None:
        raise ParameterError("the frames are gone")
    data, axes = frame_items.frames_of(given["src"].xdata)
    signals = {"frames": io.Signal(data, axes, "dense", (axes[2].size, axes[3].size))}
    mask = frame_items.good_pixels(given, data.shape[2:])
    if mask is not None:
        signals["mask"] = io.Signal(mask.astype(np.uint8), axes[2:])
    if more.get("reference") is not None:
        inside = np.asarray(more["reference"].get_mask(data.shape[:2])) > 0
        signals["reference"] = io.Signal(inside.astype(np.uint8), axes[:2])
    text = (_HEAD + "\n" + body + '\nnp.savez(here / "{result}", **result)\n').format(
        title=given["src"].title.replace("\\", "/").replace('"', "'"),
        label=computation.label,
        container=container.name,
        result=f"{script.stem}_result.npz",
        **_words(given | more, signals),
    )

    def write() -> tuple[Path, Path]:
        io.save(container, io.Dataset(signals))
        script.write_text(text, encoding="utf-8")
        return script, container

    return write


def _words(given: Mapping[str, Any], signals: Mapping[str, io.Signal]) -> dict[str, str]:
    """Return what stands in the script for each parameter."""
    words = {name: repr(value) for name, value in given.items()}
    words |= {name: _MASK.format(name=name) if name in signals else "None" for name in ("mask", "reference")}
    radius = beam_items.typed_radius(given)
    words["radius"] = _RADIUS if radius is None else f"radius = {radius!r}"
    center = beam_items.typed_center(given)
    words |= {"center": repr(center), "beam": _FIND if center == disk_items.FIND else repr(center)}
    for name in ("classes", "binning"):
        words[name] = repr(given.get(name) or None)
    if "ellipse" in given:
        ellipse = disk_items.ellipse_of(given["ellipse"])
        words["distortion"] = "None" if ellipse is None else f"ellipse_matrix{ellipse!r}"
    return words
