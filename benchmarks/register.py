"""Registration of multi-frame series: error and time per frame, ours beside what is installed.

``python -m benchmarks.register [--data FOLDER] [--jumps N] [--seeds N] [--ours] [--json FILE]``. Series are simulated
here, with known displacements: lattices with an interface and a few vacancies, drift, line jitter (AR(1), white, slow,
mains hum), Poisson counts. With `--data` the series (.npz) of a folder are measured as well, see its README. Peers,
left out where absent: scikit-image (phase correlation, TV-L1), pystackreg, OpenCV (DIS).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.timing import best, report
from esteemcore import register

SIZE = 256
PAD = 70
FINE = 3
SPACING = 13.0

Series = tuple[str, np.ndarray, np.ndarray, float]
"""Name, frames (n, y, x), true displacement per line (n, y, 2) or sample (n, y, x, 2), lattice spacing in px."""


def scene(seed: int, spacing: float = SPACING, angle_deg: float = 7.0, gamma_deg: float = 90.0) -> np.ndarray:
    """Return a lattice with an interface and vacancies, mean 1, on a grid `FINE` times as fine."""
    rng = np.random.default_rng(seed)
    n = (SIZE + 2 * PAD) * FINE
    along, across = np.deg2rad(angle_deg), np.deg2rad(angle_deg + gamma_deg)
    cell = spacing * np.array([[np.cos(along), np.sin(along)], [np.cos(across), np.sin(across)]])
    m = round(60 * SPACING / spacing)
    index = np.stack(np.meshgrid(np.arange(-m, m), np.arange(-m, m), indexing="ij"), -1).reshape(-1, 2)
    heavy = index @ cell + SIZE / 2
    place = np.concatenate([heavy, heavy + cell.sum(axis=0) / 2])
    strength = np.repeat([1.0, 0.42], len(heavy))
    beyond = place[:, 1] > SIZE / 2 + 0.15 * (place[:, 0] - SIZE / 2)
    strength[beyond] = np.repeat([0.62, 0.58], len(heavy))[beyond]
    strength[rng.random(len(strength)) < 0.01] *= 0.35
    at = np.round((place + PAD) * FINE).astype(int)
    inside = ((at >= 0) & (at < n)).all(axis=1)
    fine = np.zeros((n, n))
    np.add.at(fine, tuple(at[inside].T), strength[inside])
    fine = ndimage.gaussian_filter(fine, 2.05 * FINE) * FINE**2
    fine = fine / fine.mean() + 0.3
    return fine / fine.mean()


def simulated(
    name: str,
    seed: int,
    frames: int,
    dose: float,
    *,
    jitter: float = 0.35,
    correlation: float = 0.6,
    hum: float = 0.0,
    jumps: int = 0,
    spacing: float = SPACING,
    angle_deg: float = 7.0,
    gamma_deg: float = 90.0,
) -> Series:
    """Return a series with drift, AR(1) jitter of the lines and, if asked for, hum and jumps of 0.7 lattice spacings.

    The hum has this RMS in px, a period of 6.4 lines, its harmonic of a third, and another phase in each frame.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] + np.arange(SIZE) / SIZE - frames / 2
    moved = time[..., None] * rng.normal(0, 0.4, 2)
    line = rng.standard_normal((frames, SIZE, 2))
    for i in range(1, SIZE):
        line[:, i] = correlation * line[:, i - 1] + np.sqrt(1 - correlation**2) * line[:, i]
    moved += jitter * line
    for part, harmonic in ((1.0, 1), (1 / 3, 3)):
        phase = 2 * np.pi * (harmonic * np.arange(SIZE) / 6.4 + rng.random((frames, 1)))
        moved += hum * part * np.sqrt(2) * np.sin(phase)[..., None] * np.array([0.6, 0.8])
    for _ in range(jumps):
        angle = rng.uniform(0, 2 * np.pi)
        moved[rng.integers(1, frames) :] += 0.7 * spacing * np.array([np.sin(angle), np.cos(angle)])
    fine = scene(seed, spacing, angle_deg, gamma_deg)
    row, column = np.mgrid[:SIZE, :SIZE].astype(float)
    data = np.empty((frames, SIZE, SIZE), np.uint16)
    for k in range(frames):
        at = [(row + moved[k, :, :1] + PAD) * FINE, (column + moved[k, :, 1:] + PAD) * FINE]
        data[k] = rng.poisson(ndimage.map_coordinates(fine, at, order=1, mode="nearest") * dose)
    return name, data, moved, spacing


def stored(folder: Path) -> list[Series]:
    """Return the series of a folder."""
    result: list[Series] = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as z:
            column = np.arange(z["frames"].shape[2])
            moved = z["row"][:, :, None].astype(float) + z["slope"][:, :, None] * column[:, None]
            moved[..., 1] += z["flyamp"].astype(float)[:, :, None] * np.exp(-column / float(z["flytau"]))
            result.append((path.stem, z["frames"], moved, json.loads(str(z["meta"]))["a_px"]))
    return result


def errors(found: np.ndarray, series: Series, chosen: np.ndarray) -> tuple[float, int]:
    """Return the relative error of the chosen frames in px (RMS of dy and dx together), and how many hopped."""
    _, frames, true, spacing = series
    whole = (*frames.shape, 2)
    field = found[:, None, None] if found.ndim == 2 else found[:, :, None] if found.ndim == 3 else found
    truth = true[:, :, None] if true.ndim == 3 else true
    error = (np.broadcast_to(field, whole) - np.broadcast_to(truth, whole))[chosen][:, 4:-4, 20:]
    middle = np.median(error, axis=(1, 2))
    hopped = np.hypot(*(middle - np.median(middle, axis=0)).T) > 0.35 * spacing
    relative = error - error.mean(axis=0)
    return float(np.sqrt((relative**2).sum(axis=-1).mean())), int(hopped.sum())


def live(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Register frame by frame."""
    follower = register.LiveAlignment(frames.shape[1:])
    placed = [follower.update(frame) for frame in frames]
    begun = max(k for k, p in enumerate(placed) if p.begins)
    return np.array([p.field for p in placed]), np.array([p.accepted and k >= begun for k, p in enumerate(placed)])


def ours(model: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return our registration of a whole series."""

    def work(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = register.align(frames, model)
        return found.field, found.accepted

    return work


def smoothed(frames: np.ndarray) -> np.ndarray:
    """Return frames as the peers get them: blurred by 1.5 px, 0 to 255."""
    soft = np.array([ndimage.gaussian_filter(f.astype(np.float32), 1.5) for f in frames])
    return np.clip(soft / soft.max() * 255, 0, 255)


def phase_correlation(frames: np.ndarray) -> np.ndarray:
    """Scikit-image, each frame against the first."""
    from skimage.registration import phase_cross_correlation

    soft = smoothed(frames)
    return np.array([-phase_cross_correlation(f, soft[0], upsample_factor=20, normalization=None)[0] for f in soft])


def flow(frames: np.ndarray, one: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Optical flow of each frame to the mean after a rigid registration; ``one`` returns (y, x, 2)."""
    shifts = phase_correlation(frames)
    soft = smoothed(frames)
    upright = np.array([ndimage.shift(f, s, order=1, mode="nearest") for f, s in zip(soft, shifts, strict=True)])
    mean = upright.mean(axis=0)
    return np.array([s + one(f, mean) for f, s in zip(upright, shifts, strict=True)])


def tv_l1(frames: np.ndarray) -> np.ndarray:
    """Scikit-image, TV-L1."""
    from skimage.registration import optical_flow_tvl1

    return flow(frames, lambda f, mean: np.moveaxis(optical_flow_tvl1(f / 255, mean / 255), 0, -1))


def dis(frames: np.ndarray) -> np.ndarray:
    """OpenCV, dense inverse search."""
    import cv2

    cv2.setNumThreads(1)
    engine = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return flow(
        frames, lambda f, mean: engine.calc(f.astype(np.uint8), mean.astype(np.uint8), None)[..., ::-1].astype(float)
    )


def stackreg(frames: np.ndarray) -> np.ndarray:
    """Pystackreg, translation against the mean so far."""
    from pystackreg import StackReg

    found = StackReg(StackReg.TRANSLATION).register_stack(smoothed(frames), reference="previous")
    return -found[:, [1, 0], 2]


PEERS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "scikit-image, phase correlation": ("skimage", phase_correlation),
    "pystackreg, translation": ("pystackreg", stackreg),
    "OpenCV, DIS flow": ("cv2", dis),
    "scikit-image, TV-L1 flow": ("skimage", tv_l1),
}


def measure(series: Series, peers: bool = True) -> list[dict[str, Any]]:
    """Return the rows of one series, of our methods and, if asked for, of the others."""
    name, frames, true, _ = series
    n = len(frames)
    rows = []
    rigid = true.reshape(n, -1, 2).mean(axis=1)
    error, _ = errors(rigid, series, np.ones(n, bool))
    rows.append(row(name, "a perfect rigid shift", error, 0, n, n, None))
    methods: dict[str, Any] = {
        "esteem, lines": ours("scanline"), "esteem, rigid": ours("rigid"), "esteem, lines, live": live,
    }  # fmt: skip
    for label, (module, function) in PEERS.items():
        if peers and importlib.util.find_spec(module) is not None:
            methods[label] = lambda data, function=function: (function(data), np.ones(len(data), bool))
    for label, method in methods.items():
        result: list[Any] = [None]

        def work(method=method, result=result) -> None:
            result[0] = method(frames)

        time = best(work, 3 if label.startswith("esteem") else 1)
        error, hopped = errors(result[0][0], series, result[0][1])
        rows.append(row(name, label, error, hopped, int(result[0][1].sum()), n, time))
    return rows


def row(
    name: str, label: str, error: float, hopped: int, accepted: int, n: int, time: tuple[float, float] | None
) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "series": name,
        "method": label,
        "error px": f"{error:.3f}",
        "hopped": hopped,
        "accepted": f"{accepted}/{n}",
        "CPU ms/frame": "" if time is None else f"{time[0] / n * 1e3:.1f}",
        "wall ms/frame": "" if time is None else f"{time[1] / n * 1e3:.1f}",
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with series of known truth")
    parser.add_argument("--jumps", type=int, default=3, help="series with sudden jumps (%(default)s)")
    parser.add_argument("--seeds", type=int, default=0, help="further series at 1 e/px (%(default)s)")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    for label, (module, _) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"left out: {label} ({module} is not installed)")
    register.align(np.random.default_rng(0).poisson(5.0, (4, 64, 64)))
    every: list[Series] = [
        simulated("interface, 5 e/px", 1, 16, 5.0),
        simulated("interface, 1 e/px", 2, 24, 1.0),
        simulated("white jitter", 3, 16, 5.0, correlation=0.0),
        simulated("slow jitter 1 px", 4, 16, 5.0, jitter=1.0, correlation=0.97),
        simulated("mains hum only", 5, 16, 5.0, jitter=0.0, hum=0.4),
        simulated("8 px, 31 deg, 2 e/px", 6, 16, 2.0, spacing=8.0, angle_deg=31.0),
        simulated("hexagonal, 17 px, 2 e/px", 7, 16, 2.0, spacing=17.0, angle_deg=12.0, gamma_deg=60.0),
        *(simulated(f"1 e/px, seed {k}", 100 + k, 24, 1.0) for k in range(arguments.seeds)),
        *(simulated(f"jumps, 1 e/px, {k}", 10 + k, 16, 1.0, jumps=2) for k in range(arguments.jumps)),
        *(stored(arguments.data) if arguments.data else []),
    ]
    report("register", [r for series in every for r in measure(series, not arguments.ours)], arguments.json)


if __name__ == "__main__":
    main()
