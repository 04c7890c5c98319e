"""Bragg disks and ellipse: what is found, how far off, against what the counts allow, and how fast.

``python -m benchmarks.diffraction [--data FOLDER] [--scan N] [--py4dstem PYTHON] [--json FILE]``. The sets are
simulated here, with every disk known; six are made hard. With `--data` the sets (.npz) of a folder are measured as
well, see its README. Peers, left out where they are not installed: LiberTEM-blobfinder, which does not search: it is
given every true place to 1 px; py4DSTEM with sub-pixel places by multicorr, in the environment of the interpreter that
``--py4dstem`` or ``ESTEEM_PY4DSTEM_PYTHON`` names, tuned to each set by its truth, see `py4dstem_peer`.

``recall`` is that at 0.1 false disks per frame, of disks of 40 electrons or more that lie whole on the detector;
``bound`` the root mean square of the Cramér-Rao bounds of their places when only background and height are unknown, and
ellipse, edge, inside and neighbours are not: no method that has to learn them reaches it.

For grains on top of each other, the last table says what any detector could find: ``ideal`` is the recall of a
likelihood-ratio test at every true place, with all shapes known and `FALSE_PER_FRAME` false ones at as many other
places; ``detectable`` are the disks whose electrons are `SURE` standard errors, with heights and places of all disks
of the frame free.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import cKDTree

from benchmarks import py4dstem_peer
from benchmarks.timing import best, report
from esteemcore import diffraction, events, simulate, stream
from esteemcore.simulate.polycrystal import EDGE_PX

LEAST_ELECTRONS = 40.0
NEAR_PX = 2.5
FALSE_PER_FRAME = 0.1
SURE = 6.5
TUNED_ON = 60

HARD: dict[str, dict[str, Any]] = {
    "grains": {},
    "descan 7 px": {"descan_px": 7.0},
    "thickness waves": {"waves": 1.0},
    "overlapping grains": {"overlap": 0.4},
    "400 e per frame": {"electrons": 400.0},
    "bullseye probe": {"bullseye": True},
    "two amorphous phases": {"amorphous": 2, "film": 0.2},
}


@dataclasses.dataclass(frozen=True)
class Set:
    """Frames with their disks: position, row, column and electrons of each; the probe in vacuum where it is known."""

    name: str
    data: np.ndarray
    radius: float
    disks: np.ndarray
    positions: np.ndarray
    bound: float | None
    ellipse: tuple[float, float] | None = None
    probe: np.ndarray | None = None


def simulated(name: str, scan: int, changes: dict[str, Any]) -> tuple[Set, simulate.Polycrystal]:
    """Return a set of 128 x 128 pixels, and what it was made from."""
    chosen = {"electrons": 8000.0, "grains": 5, "ellipse": (1.05, 25.0), "spacing_px": 20.0, "seed": 7} | changes
    truth = simulate.polycrystal((scan, scan), (128, 128), radius_px=4.5, **chosen)
    grains = truth.member.shape[0] - chosen.get("amorphous", 1)
    share = (
        truth.member[:grains].sum(axis=0).ravel() if "overlap" in changes else truth.member[:grains].max(axis=0).ravel()
    )
    disks = np.stack([truth.frame, truth.y, truth.x, truth.electrons], axis=1)
    positions = np.flatnonzero(share > 0.99)
    least = bound(truth, positions)
    middle, flat = np.full(len(truth.y), 64.0), np.zeros_like(truth.inside)
    vacuum = dataclasses.replace(truth, y=middle, x=middle, inside=flat)
    probe = vacuum.disk(0, np.arange(128)[:, None], np.arange(128)[None, :])
    return Set(name, truth.frames(1), truth.radius_px, disks, positions, least, chosen["ellipse"], probe), truth


def bound(truth: simulate.Polycrystal, positions: np.ndarray) -> float:
    """Return the root mean square of the least errors of places, rows and columns together, of the disks that count."""
    variances = []
    for position in positions[:: max(1, len(positions) // 60)]:
        rates = np.maximum(truth.expected(int(position)), 1e-3)
        for i in np.flatnonzero((truth.frame == position) & (truth.electrons >= LEAST_ELECTRONS)):
            if not whole(np.array([truth.y[i], truth.x[i]]), truth.radius_px, truth.frame_shape):
                continue
            reach = int(1.2 * truth.radius_px + 2)
            y0, x0 = round(truth.y[i]), round(truth.x[i])
            rows, columns = np.arange(y0 - reach, y0 + reach + 1), np.arange(x0 - reach, x0 + reach + 1)
            rows, columns = (a[(a >= 0) & (a < n)] for a, n in zip((rows, columns), truth.frame_shape, strict=True))
            shapes = [truth.disk(i, rows[:, None], columns[None, :])]
            for axis in ("y", "x"):
                moved = [dataclasses.replace(truth, **{axis: getattr(truth, axis) + s}) for s in (0.05, -0.05)]
                shapes.append(np.subtract(*(m.disk(i, rows[:, None], columns[None, :]) for m in moved)) / 0.1)
            design = np.stack([np.ones(shapes[0].size), *(s.ravel() for s in shapes)])
            information = design / rates[np.ix_(rows, columns)].ravel() @ design.T
            variances.append(np.linalg.inv(information)[2:, 2:].trace())
    return float(np.sqrt(np.mean(variances)))


def stored(folder: Path) -> list[Set]:
    """Return the sets of a folder."""
    result = []
    for path in sorted(folder.glob("*_truth.npz")):
        with np.load(path) as z:
            meta, spots, member = json.loads(str(z["meta"])), z["spots"], z["member"]
            grains = len(z["rot"])
        with np.load(path.with_name(path.name.replace("_truth", ""))) as z:
            data = z["data"]
        frame = spots["y"].astype(np.int64) * data.shape[1] + spots["x"]
        disks = np.stack([frame, spots["py"], spots["px"], spots["amp"]], axis=1).astype(float)
        positions = np.flatnonzero(member[:grains].sum(axis=0).ravel() > 0.99)
        name = path.name.removesuffix("_truth.npz")
        ellipse = (meta["ell_ratio"], meta["ell_deg"])
        result.append(Set(name, data, meta["R_px"], disks[np.argsort(frame, kind="stable")], positions, None, ellipse))
    return result


def whole(place: np.ndarray, radius: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return which disks lie whole on the detector."""
    return ((place > radius) & (place < np.array(shape[-2:]) - 1 - radius)).all(axis=-1)


def merged(disks: np.ndarray) -> np.ndarray:
    """Return the disks of a frame with those nearer than 1.5 px to a brighter one joined to it."""
    kept: list[np.ndarray] = []
    for disk in disks[np.argsort(-disks[:, 3])]:
        for other in kept:
            if np.hypot(*(other[1:3] - disk[1:3])) < 1.5:
                total = other[3] + disk[3]
                other[1:3] = (other[1:3] * other[3] + disk[1:3] * disk[3]) / total
                other[3] = total
                break
        else:
            kept.append(disk.copy())
    return np.array(kept)


def score(found: np.ndarray, case: Set, chosen: dict[int, np.ndarray] | None = None) -> tuple[float, float, float]:
    """Return recall at `FALSE_PER_FRAME`, false disks per frame in all, and the error in px of the disks that count.

    ``found`` holds position, row, column and score of each disk; ``chosen`` says which of the merged disks of a
    position count at most.
    """
    rows, visible = [], 0
    starts = np.searchsorted(case.disks[:, 0], case.positions), np.searchsorted(case.disks[:, 0], case.positions + 1)
    order = np.argsort(found[:, 0], kind="stable")
    found = found[order]
    mine = np.searchsorted(found[:, 0], case.positions), np.searchsorted(found[:, 0], case.positions + 1)
    for a, b, c, d in zip(*starts, *mine, strict=True):
        true = merged(case.disks[a:b])
        counts = whole(true[:, 1:3], case.radius, case.data.shape) & (true[:, 3] >= LEAST_ELECTRONS)
        if chosen is not None:
            counts &= chosen[int(case.disks[a, 0])]
        visible += int(counts.sum())
        true, counts = true[true[:, 3] >= 4], counts[true[:, 3] >= 4]
        used: set[int] = set()
        for disk in sorted(found[c:d], key=lambda row: -row[3]):
            distance, which = cKDTree(true[:, 1:3]).query(disk[1:3])
            hit = distance < NEAR_PX and which not in used
            used.add(int(which) if hit else -1)
            rows.append((disk[3], distance if hit else np.nan, bool(hit and counts[which]), not hit))
    table = np.array(sorted(rows, key=lambda row: -row[0]), dtype=float)
    false = np.cumsum(table[:, 3]) / len(case.positions)
    upto = np.searchsorted(false, FALSE_PER_FRAME, side="right")
    good = table[:, 2] > 0
    error = float(np.sqrt(np.mean(table[good, 1] ** 2)))
    return float(good[:upto].sum() / max(visible, 1)), float(false[-1]), error


def ours(passes: int, probe: diffraction.Template | None = None) -> Callable[[Set], np.ndarray]:
    """Return our search on one thread."""

    def work(case: Set) -> np.ndarray:
        table = diffraction.find_disks(case.data, case.radius, probe=probe, passes=passes, threads=1)
        return np.stack([table.frame, table.y, table.x, table.score], axis=1)

    return work


def refined(case: Set, pattern: Any) -> np.ndarray:
    """Return the places that LiberTEM-blobfinder refines, from the true ones rounded to pixels; all scores are 1."""
    from libertem_blobfinder.common.correlation import process_frames_fast

    visible = case.disks[:, 3] >= LEAST_ELECTRONS
    visible &= whole(case.disks[:, 1:3], case.radius + 3, case.data.shape)
    rows = []
    for position in np.unique(case.disks[visible, 0]).astype(int):
        peaks = np.round(case.disks[visible & (case.disks[:, 0] == position), 1:3]).astype(int)
        frame = case.data[divmod(position, case.data.shape[1])].astype(np.float32)
        _, places, _, _ = process_frames_fast(pattern, frame[None], peaks)
        rows += [(position, y, x, 1.0) for y, x in places[0]]
    return np.array(rows)


def blobfinder(case: Set) -> np.ndarray:
    """Return LiberTEM-blobfinder's places of disks that fade towards their rim."""
    from libertem_blobfinder.common.patterns import RadialGradient

    return refined(case, RadialGradient(radius=case.radius, search=case.radius + 3))


PEERS: dict[str, tuple[str, Callable[[Set], np.ndarray]]] = {
    "blobfinder, true places given": ("libertem_blobfinder", blobfinder)
}


def py4dstem(python: str, case: Set) -> tuple[np.ndarray, float, str]:
    """Return the disks of py4DSTEM at the setting that is best on some of the frames, CPU seconds, and its version."""
    frames = case.data.reshape(-1, *case.data.shape[2:])
    probe = case.probe
    if probe is None:
        y, x = (np.arange(n) - n / 2 for n in frames.shape[1:])
        probe = np.clip(0.5 - (np.hypot(y[:, None], x[None, :]) - case.radius) / EDGE_PX, 0, 1)
    some = case.positions[:: max(1, len(case.positions) // TUNED_ON)]
    disks = case.disks[np.isin(case.disks[:, 0], some)]
    disks[:, 0] = np.searchsorted(some, disks[:, 0])
    part = dataclasses.replace(case, disks=disks, positions=np.arange(len(some)))
    setting = py4dstem_peer.best_setting(
        python, frames[some], probe, case.radius, lambda found: score(found, part), FALSE_PER_FRAME
    )
    found = py4dstem_peer.find(python, frames, probe, setting)
    return found["disks"], found["cpu_s"], found["version"]


def row(case: Set, label: str, found: np.ndarray, cpu: float, *, searched: bool = True) -> dict[str, Any]:
    """Return a row of the table."""
    recall, false, error = score(found, case)
    frames = case.data.shape[0] * case.data.shape[1]
    return {
        "set": case.name,
        "method": label,
        "recall": f"{recall:.4f}" if searched else "",
        "false/frame": f"{false:.3f}" if searched else "",
        "error px": f"{error:.3f}",
        "bound px": "" if case.bound is None else f"{case.bound:.3f}",
        "over bound": "" if case.bound is None else f"{error / case.bound:.2f}",
        "frames per CPU s": f"{frames / cpu:.0f}",
    }


def measure(case: Set, python: str) -> list[dict[str, Any]]:
    """Return the rows of one set."""
    methods = {"esteem, one pass": ours(1), "esteem, two passes": ours(2)}
    methods |= {k: f for k, (module, f) in PEERS.items() if importlib.util.find_spec(module) is not None}
    rows = []
    for label, method in methods.items():
        kept: list[Any] = [None]

        def work(method=method, kept=kept) -> None:
            kept[0] = method(case)

        mine = label.startswith("esteem")
        cpu, _ = best(work, 2 if mine else 1)
        rows.append(row(case, label, kept[0], cpu, searched=mine))
    if python:
        found, cpu, version = py4dstem(python, case)
        rows.append(row(case, f"py4DSTEM {version}", found, cpu))
    return rows


def ellipse_row(case: Set) -> dict[str, Any]:
    """Return the ellipse of a set beside the true one."""
    assert case.ellipse is not None
    row = {"set": case.name, "true": f"{case.ellipse[0]:.4f} at {case.ellipse[1] % 180:.1f} deg"}
    found = diffraction.fit_ellipse(case.data)
    row["found"] = f"{found.ratio:.4f} at {found.angle_deg:.2f} deg"
    row["error stated"] = f"{found.ratio_sigma:.4f}, {found.angle_sigma_deg:.2f} deg"
    return row


def significance(truth: simulate.Polycrystal, position: int) -> np.ndarray:
    """Return the electrons of each merged disk of a frame in standard errors, heights and places of all disks free."""
    first, last = np.searchsorted(truth.frame, (position, position + 1))
    mine = np.arange(first, last)
    disks = merged(np.stack([truth.frame, truth.y, truth.x, truth.electrons], axis=1)[mine])
    rates = np.maximum(truth.expected(position), 1e-3).ravel()
    rows, columns = np.arange(truth.frame_shape[0])[:, None], np.arange(truth.frame_shape[1])[None, :]
    design = [np.ones(rates.size)]
    for _, y, x, electrons in disks:
        i = mine[np.hypot(truth.y[mine] - y, truth.x[mine] - x).argmin()]
        reach = int(1.2 * truth.radius_px + 3)
        v, u = (slice(max(0, round(c) - reach), round(c) + reach + 1) for c in (y, x))
        images = []
        for dy, dx in ((0, 0), (0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
            place = {"y": truth.y.copy(), "x": truth.x.copy()}
            place["y"][i], place["x"][i] = y + dy, x + dx
            image = np.zeros(truth.frame_shape)
            image[v, u] = dataclasses.replace(truth, **place).disk(i, rows[v], columns[:, u])
            images.append(image.ravel() / truth.electrons[i])
        design += [images[0], (images[1] - images[2]) * 10 * electrons, (images[3] - images[4]) * 10 * electrons]
    shapes = np.stack(design)
    information = shapes / rates @ shapes.T
    scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-12))
    inverse = np.linalg.pinv(information * scale * scale[:, None], rcond=1e-9, hermitian=True)
    sigma = np.sqrt(np.diag(inverse)) * scale
    return np.asarray(disks[:, 3] / sigma[1::3])


def overlap_rows(scan: int) -> list[dict[str, Any]]:
    """Return what is found of grains on top of each other, beside what any detector could find."""
    case, truth = simulated("overlapping grains", scan, HARD["overlapping grains"])
    some = case.positions[:: max(1, len(case.positions) // 20)]
    case = dataclasses.replace(case, positions=some)
    sure = {int(p): significance(truth, int(p)) for p in some}
    counted = []
    for p in some:
        true = merged(case.disks[slice(*np.searchsorted(case.disks[:, 0], (p, p + 1)))])
        good = whole(true[:, 1:3], case.radius, case.data.shape) & (true[:, 3] >= LEAST_ELECTRONS)
        counted.append(sure[int(p)][good])
    each = np.concatenate(counted)
    ideal = stats.norm.sf(stats.norm.isf(FALSE_PER_FRAME * len(some) / len(each)) - each).mean()
    chosen = {p: s >= SURE for p, s in sure.items()}
    rows = []
    for label, more in (("two passes", {}), ("overlapping=True", {"overlapping": True})):
        table = diffraction.find_disks(case.data, case.radius, threads=1, **more)
        found = np.stack([table.frame, table.y, table.x, table.score], axis=1)
        recall, false, error = score(found, case)
        rows.append(
            {
                "disks": label,
                "recall": f"{recall:.3f}",
                "ideal": f"{ideal:.3f}",
                "detectable": f"{(each >= SURE).mean():.3f}",
                "recall of these": f"{score(found, case, chosen)[0]:.3f}",
                "false/frame": f"{false:.3f}",
                "error px": f"{error:.3f}",
            }
        )
    return rows


def event_rows(scan: int) -> list[dict[str, Any]]:
    """Return the speed on frames of events; the frames are dense ones as well."""
    rows = []
    for electrons in (300, 1000, 3000):
        truth = simulate.polycrystal(
            (scan, scan), (128, 128), radius_px=4.5, spacing_px=20, electrons=electrons, seed=7
        )
        frames = truth.frames(1).reshape(-1, 128, 128)
        spec = stream.Spec((scan, scan), (128, 128), np.uint16)
        index = np.arange(len(frames))
        for kind, chunk in (
            ("events", stream.Chunk(index, events=events.events_from_frames(frames))),
            ("dense", stream.Chunk(index, frames)),
        ):
            reducer = diffraction.Disks(4.5, threads=1)
            cpu, _ = best(lambda: reducer.update(reducer.init(spec), chunk))  # noqa: B023
            rows.append({"electrons": electrons, "frames as": kind, "frames per CPU s": f"{len(frames) / cpu:.0f}"})
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with sets of known truth")
    parser.add_argument(
        "--scan", type=int, default=20, help="positions along each side of the simulated scans (%(default)s)"
    )
    parser.add_argument(
        "--py4dstem", default=os.environ.get("ESTEEM_PY4DSTEM_PYTHON", ""), help="interpreter that has py4DSTEM"
    )
    parser.add_argument("--json", type=Path, help="also write the rows of the disks to this file")
    arguments = parser.parse_args()
    for label, (module, _) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"left out: {label} ({module} is not installed)")
    if not arguments.py4dstem:
        print("left out: py4DSTEM (ESTEEM_PY4DSTEM_PYTHON names no interpreter)")
    sets = [simulated(name, arguments.scan, changes)[0] for name, changes in HARD.items()]
    sets += stored(arguments.data) if arguments.data else []
    diffraction.find_disks(sets[0].data[:2], sets[0].radius)
    report("diffraction", [line for case in sets for line in measure(case, arguments.py4dstem)], arguments.json)
    print()
    report("ellipse", [ellipse_row(case) for case in sets if case.ellipse is not None], None)
    print()
    report("overlapping grains", overlap_rows(arguments.scan), None)
    print()
    report("events", event_rows(arguments.scan), None)


if __name__ == "__main__":
    main()
