"""A microscope for the tests: each frame is known from its number. As a program it acquires until it is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io, multiframe

SHAPE = (16, 12)


def frame(number: int) -> np.ndarray:
    """Return what the region shows in a frame, upright."""
    return np.random.default_rng(number).poisson(20, SHAPE).astype(np.float32)


def spectra(number: int) -> np.ndarray:
    return np.random.default_rng(1000 + number).poisson(0.05, (*SHAPE, 32)).astype(np.uint16)


def take(request: multiframe.FrameRequest) -> dict[str, Any]:
    turned = np.rot90(frame(request.number), -request.order.quarter_turns)
    return {"adf": turned, "eds": np.rot90(spectra(request.number), -request.order.quarter_turns)}


def plan(**settings: Any) -> multiframe.SeriesPlan:
    region = multiframe.Region(SHAPE, 0.1)
    signals = {
        "adf": io.SeriesSignal(SHAPE, np.float32),
        "eds": io.SeriesSignal((*SHAPE, 32), np.uint16, kind="events"),
    }
    values = {"current_pa": 10.0, "dwell_s": 1e-5, "frames": 4} | settings
    return multiframe.SeriesPlan(region, multiframe.SeriesSettings(**values), signals)


def main() -> None:
    """Acquire; ``sys.argv[1]`` is the folder of the region."""
    folder = multiframe.RegionFolder(Path(sys.argv[1]))

    def slow(request: multiframe.FrameRequest) -> dict[str, Any]:
        time.sleep(0.01)
        return take(request)

    def stored(done: multiframe.AcquiredFrame) -> None:
        sys.stdout.write(f"{done.number}\n")
        sys.stdout.flush()

    multiframe.acquire_series(plan(frames=100_000), folder, slow, on_frame=stored)


if __name__ == "__main__":
    main()
