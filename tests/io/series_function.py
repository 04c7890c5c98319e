"""Series whose frames follow from their number, and a process that writes them until it is killed."""

from __future__ import annotations

import sys

import numpy as np

SHAPES = {"adf": (12, 10), "eels": (12, 10, 40), "eds": (12, 10, 64)}


def signals():
    from esteemcore import io

    return {
        "adf": io.SeriesSignal(SHAPES["adf"], np.float32),
        "eels": io.SeriesSignal(SHAPES["eels"], np.uint16),
        "eds": io.SeriesSignal(SHAPES["eds"], np.uint16, kind="events"),
    }


def make(number: int):
    """Return the dense signals of a frame."""
    rng = np.random.default_rng(number)
    return {
        "adf": rng.random(SHAPES["adf"], np.float32) + number,
        "eels": rng.poisson(20 + number % 5, SHAPES["eels"]).astype(np.uint16),
        "eds": rng.poisson(0.02, SHAPES["eds"]).astype(np.uint16),
    }


def known(number: int):
    """Return what is known of a frame."""
    return {"time_s": 0.5 * number, "energy_offset_ev": 0.1 * (number % 7), "tilt_deg": (0.25 * number, -1.0)}


def write_for_ever(path: str) -> None:
    """Append frames until killed; print the committed count after each."""
    from esteemcore import io

    writer = io.SeriesWriter(path, signals())
    number = 0
    while True:
        writer.append(make(number), **known(number))
        number += 1
        sys.stdout.write(f"{writer.frames}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(sys.argv[1])
