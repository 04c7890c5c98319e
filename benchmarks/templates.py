"""Disks of an aperture of any pattern: a ring with a bar across, with inner structure, looked for with its image.

``python -m benchmarks.templates [--scan N] [--json FILE]``. Simulated frames of 128 x 128 pixels with every disk known.
Peers: `match_template` of scikit-image with a parabola through each maximum; and LiberTEM-blobfinder with the same
image, left out where it is not installed, which does not search: it is given every true place to 1 px. The columns are
those of `benchmarks.diffraction`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.diffraction import Set, bound, ours, refined, score
from benchmarks.timing import best, report
from esteemcore import diffraction, events, simulate, stream

RADIUS = 6.0
SUBPIXELS = (np.arange(4) - 1.5) / 4
VACUUM_ELECTRONS = 1e6
LEAST_CORRELATION = 0.15
DOSES = (800, 3000, 20000)


def aperture(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the intensity of a ring with a bar across, at places (v, u) in px from its middle."""

    def soft(distance: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(0.5 + distance / 1.2, 0, 1))

    r, across = np.hypot(v, u), np.abs(0.8 * v + 0.6 * u)
    return np.maximum(soft(RADIUS - r) * soft(r - 0.62 * RADIUS), soft(0.12 * RADIUS - across) * soft(RADIUS - r))


AREA = float(aperture(*np.mgrid[-9:9:721j, -9:9:721j]).sum() * (18 / 720) ** 2)
"""Its integral in px^2."""


@dataclasses.dataclass(frozen=True, eq=False)
class Barred(simulate.Polycrystal):
    """A simulated scan whose disks are rings with a bar."""

    def disk(self, i: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the expected counts of a disk in pixels (rows, columns)."""
        tilt_y, tilt_x, bowl = self.inside[i]
        total = np.zeros(np.broadcast_shapes(rows.shape, columns.shape))
        for sy in SUBPIXELS:
            for sx in SUBPIXELS:
                v, u = rows + sy - self.y[i], columns + sx - self.x[i]
                inside = 1 + (tilt_y * v + tilt_x * u) / RADIUS + bowl * (2 * (v**2 + u**2) / RADIUS**2 - 1)
                total += aperture(v, u) * np.maximum(inside, 0)
        return np.asarray(total * self.electrons[i] / (len(SUBPIXELS) ** 2 * AREA))


def simulated(electrons: float, scan: int) -> Set:
    """Return two grains with some 15 disks that count in a frame of 3,000 electrons."""
    truth = simulate.polycrystal(
        (scan, scan), (128, 128), radius_px=RADIUS, spacing_px=24, electrons=electrons, grains=2, amorphous=0, seed=7
    )
    barred = Barred(**{field.name: getattr(truth, field.name) for field in dataclasses.fields(truth)})
    disks = np.stack([truth.frame, truth.y, truth.x, truth.electrons], axis=1)
    positions = np.arange(scan * scan)
    return Set(f"{electrons:,} e", barred.frames(1), RADIUS, disks, positions, bound(barred, positions))


def template() -> diffraction.Template:
    """Return what a vacuum frame teaches."""
    y, x = np.mgrid[:40, :40].astype(float)
    image = sum(aperture(y + sy - 19.3, x + sx - 20.6) for sy in SUBPIXELS for sx in SUBPIXELS)
    vacuum = np.random.default_rng(0).poisson(image * (VACUUM_ELECTRONS / image.sum()) + 0.2)
    return diffraction.learn_template(vacuum, RADIUS)


def blobfinder(probe: diffraction.Template) -> Callable[[Set], np.ndarray]:
    """Return LiberTEM-blobfinder with the image of the probe, moved to the middle; all scores are 1."""
    middle = np.array(probe.values.shape) // 2
    image = ndimage.shift(probe.values, middle - np.array(probe.center), order=3)
    image -= image.mean()

    def work(case: Set) -> np.ndarray:
        from libertem_blobfinder.common.patterns import UserTemplate

        return refined(case, UserTemplate(template=image.astype(np.float32), search=case.radius + 3))

    return work


def matched(probe: diffraction.Template) -> Callable[[Set], np.ndarray]:
    """Return the normalised correlation of scikit-image, each maximum refined by parabolas."""
    off = np.array(probe.center) - np.array(probe.values.shape) // 2

    def work(case: Set) -> np.ndarray:
        from skimage.feature import match_template, peak_local_max

        rows = []
        for position, frame in enumerate(case.data.reshape(-1, *case.data.shape[2:])):
            like = match_template(frame.astype(float), probe.values, pad_input=True)
            apart = int(1.6 * case.radius)
            for y, x in peak_local_max(like, apart, threshold_abs=LEAST_CORRELATION, exclude_border=1):
                place = np.array([y, x], float)
                for axis, (before, behind) in enumerate(
                    ((like[y - 1, x], like[y + 1, x]), (like[y, x - 1], like[y, x + 1]))
                ):
                    place[axis] += 0.5 * (behind - before) / max(2 * like[y, x] - before - behind, 1e-9)
                rows.append((position, *(place + off), like[y, x]))
        return np.array(rows)

    return work


def measure(case: Set) -> list[dict[str, Any]]:
    """Return the rows of one set."""
    probe = template()
    methods = {
        "esteem, template, one pass": ours(1, probe),
        "esteem, template, two passes": ours(2, probe),
        "esteem, plain disks, two passes": ours(2),
        "match_template and parabolas": matched(probe),
    }
    if importlib.util.find_spec("libertem_blobfinder") is not None:
        methods["blobfinder, true places given"] = blobfinder(probe)
    rows, frames = [], case.data.shape[0] * case.data.shape[1]
    for label, method in methods.items():
        kept: list[Any] = [None]

        def work(method=method, kept=kept) -> None:
            kept[0] = method(case)

        cpu, _ = best(work, 3 if label.startswith("esteem") else 2)
        recall, false, error = score(kept[0], case)
        searched = not label.startswith("blobfinder")
        assert case.bound is not None
        rows.append(
            {
                "set": case.name,
                "method": label,
                "recall": f"{recall:.3f}" if searched else "",
                "false/frame": f"{false:.2f}" if searched else "",
                "error px": f"{error:.3f}",
                "over bound": f"{error / case.bound:.2f}",
                "frames per CPU s": f"{frames / cpu:.0f}",
            }
        )
    return rows


def event_row(case: Set) -> dict[str, Any]:
    """Return the speed of the first pass on frames of events."""
    frames = case.data.reshape(-1, *case.data.shape[2:])
    spec = stream.Spec(case.data.shape[:2], case.data.shape[2:], case.data.dtype)
    chunk = stream.Chunk(np.arange(len(frames)), events=events.events_from_frames(frames))
    reducer = diffraction.Disks(RADIUS, probe=template(), threads=1)
    cpu, _ = best(lambda: reducer.update(reducer.init(spec), chunk))
    return {"set": case.name, "frames as": "events", "frames per CPU s": f"{len(frames) / cpu:.0f}"}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=int, default=16, help="positions along each side of the scans (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the rows of the disks to this file")
    arguments = parser.parse_args()
    if importlib.util.find_spec("libertem_blobfinder") is None:
        print("left out: blobfinder (libertem_blobfinder is not installed)")
    sets = [simulated(electrons, arguments.scan) for electrons in DOSES]
    report("disks like a template", [row for case in sets for row in measure(case)], arguments.json)
    print()
    report("events", [event_row(case) for case in sets], None)


if __name__ == "__main__":
    main()
