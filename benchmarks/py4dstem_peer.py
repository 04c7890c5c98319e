"""Bragg disks by py4DSTEM, in an environment of its own: it needs a NumPy that does not install beside anything else.

``python benchmarks/py4dstem_peer.py FOLDER``, by the interpreter of that environment, does what ``FOLDER/asked.json``
says to the frames in ``FOLDER/asked.npz``. The benchmark of disks starts it: `best_setting` tries the kernels and
widths of `SETTINGS` on some frames, each with an absolute and a relative threshold that lets the wanted number of false
disks through, and takes the one that finds most; `find` then runs it on all frames, with places by ``multicorr``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = [
    {"mode": mode, "outer": outer, "sigma": sigma}
    for mode, outer in (("sigmoid", 2.0), ("sigmoid", 4.0), ("flat", 0.0))
    for sigma in (0.0, 1.0, 2.0)
]
"""Kernel, where its trench ends in radii of the probe, width in px of the filter before maxima are looked for."""
UPSAMPLED = 16
FEW = 1000
"""Frames of which the time is taken twice."""

Score = Callable[[np.ndarray], tuple[float, float, float]]
"""From position, row, column and score of disks to recall, false disks per frame, and error in px."""


def ask(python: str, frames: np.ndarray, probe: np.ndarray, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each setting the disks (position, row, column, intensity) and the CPU seconds that they took."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "asked.npz", frames=frames, probe=probe)
        (Path(folder) / "asked.json").write_text(json.dumps(asked))
        one = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [python, str(Path(__file__).resolve()), folder]
        done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"py4DSTEM failed in {python}: {done.stderr.strip().splitlines()[-1]}")
        answers: list[dict[str, Any]] = json.loads((Path(folder) / "answers.json").read_text())
        with np.load(Path(folder) / "disks.npz") as disks:
            return [answer | {"disks": disks[str(k)]} for k, answer in enumerate(answers)]


def best_setting(
    python: str, frames: np.ndarray, probe: np.ndarray, radius: float, score: Score, false_per_frame: float
) -> dict[str, Any]:
    """Return the setting that finds most true disks at so many false ones, with its threshold."""
    common = {"radius": radius, "subpixel": "poly", "times": 1, "absolute": 0.0, "relative": 0.0}
    tried = [setting | common for setting in SETTINGS]
    best, most = tried[0], -1.0
    for setting, answer in zip(tried, ask(python, frames, probe, tried), strict=True):
        for threshold, disks in (("absolute", answer["disks"]), ("relative", relative(answer["disks"]))):
            recall = score(disks)[0]
            if recall > most:
                best, most = setting | {threshold: least(disks, score, false_per_frame)}, recall
    return best


def relative(disks: np.ndarray) -> np.ndarray:
    """Return the disks with their intensities in parts of the brightest one of the frame."""
    frame = disks[:, 0].astype(int)
    brightest = np.zeros(frame.max(initial=0) + 1)
    np.maximum.at(brightest, frame, disks[:, 3])
    return np.column_stack([disks[:, :3], disks[:, 3] / brightest[frame]])


def least(ranked: np.ndarray, score: Score, false_per_frame: float) -> float:
    """Return the threshold of the last column above which no more than so many false disks per frame lie."""
    values = np.unique(ranked[:, 3])
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if score(ranked[ranked[:, 3] >= values[middle]])[1] <= false_per_frame:
            high = middle
        else:
            low = middle + 1
    return float(values[low])


def find(python: str, frames: np.ndarray, probe: np.ndarray, setting: dict[str, Any]) -> dict[str, Any]:
    """Return disks, ranked by what the threshold of the setting is for, CPU seconds and version for all frames."""
    times = 2 if len(frames) <= FEW else 1
    found = ask(python, frames, probe, [setting | {"subpixel": "multicorr", "times": times}])[0]
    return found | {"disks": relative(found["disks"])} if setting["relative"] > 0 else found


def answer(folder: Path) -> None:
    """Do what is asked; runs where py4DSTEM is."""
    import warnings

    warnings.simplefilter("ignore")
    import py4DSTEM
    from py4DSTEM.braggvectors import find_Bragg_disks

    with np.load(folder / "asked.npz") as asked:
        frames, image = asked["frames"], asked["probe"]
    answers, disks = [], {}
    for k, setting in enumerate(json.loads((folder / "asked.json").read_text())):
        probe = py4DSTEM.Probe(image.astype(float))
        more = {"radii": (setting["radius"], setting["outer"] * setting["radius"])} if setting["outer"] else {}
        origin = tuple(n / 2 for n in image.shape)
        kernel = probe.get_kernel(mode=setting["mode"], origin=origin, **more)
        chosen = {
            "corrPower": 1,
            "sigma_cc": setting["sigma"],
            "subpixel": setting["subpixel"],
            "upsample_factor": UPSAMPLED,
            "minAbsoluteIntensity": setting["absolute"],
            "minRelativeIntensity": setting["relative"],
            "minPeakSpacing": 1.6 * setting["radius"],
            "edgeBoundary": int(setting["radius"]),
            "maxNumPeaks": 100,
        }
        find_Bragg_disks(py4DSTEM.DataCube(frames[None, :2]), kernel, **chosen)
        cube, cpu = py4DSTEM.DataCube(frames[None]), float("inf")
        for _ in range(setting["times"]):
            start = time.process_time()
            found = find_Bragg_disks(cube, kernel, **chosen)
            cpu = min(cpu, time.process_time() - start)
        rows = [
            np.column_stack([np.full(len(p.data), i), p.data["qx"], p.data["qy"], p.data["intensity"]])
            for i, p in enumerate(found.raw[0, i] for i in range(len(frames)))
        ]
        disks[str(k)] = np.concatenate(rows)
        answers.append({"version": py4DSTEM.__version__, "cpu_s": cpu})
    np.savez(folder / "disks.npz", **disks)
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
