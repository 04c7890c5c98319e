"""Series whose frames follow from their number, a check of what is on disk, a process that writes until killed."""

from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest

from esteemcore.io import durable

WRITE_FILE = durable.write_file
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
    return {
        "time_s": 0.5 * number,
        "energy_offset_ev": 0.1 * (number % 7),
        "tilt_deg": (0.25 * number, -1.0),
        "displacement_px": (0.5 * number, -0.125 * number),
    }


def dense(signal, number):
    data = signal.data.frame(number).to_dense() if signal.kind == "events" else signal.data[number]
    return np.asarray(data)


def check(path, n=None):
    """Compare all committed frames with what was written; return their number."""
    from esteemcore import io

    dataset = io.load(path)
    frames = len(dataset.series)
    assert n is None or frames == n
    for number in range(frames):
        for name, values in make(number).items():
            np.testing.assert_array_equal(dense(dataset.signals[name], number), values)
            assert dataset.series.counts[name][number] == pytest.approx(values.sum(dtype=np.float64))
        row = known(number)
        assert dataset.series.time_s[number] == row["time_s"]
        assert dataset.series.energy_offset_ev[number] == row["energy_offset_ev"]
        np.testing.assert_array_equal(dataset.series.tilt_deg[number], row["tilt_deg"])
        np.testing.assert_array_equal(dataset.series.displacement_px[number], row["displacement_px"])
    return frames


class FullDisk:
    """Lets a number of writes pass, then has no space left."""

    def __init__(self, passes: int):
        self.passes = passes

    def __call__(self, path, pieces):
        if self.passes <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.passes -= 1
        WRITE_FILE(path, pieces)


def write_for_ever(path: str, append: bool) -> None:
    """Append frames until killed; print the committed count after each."""
    from esteemcore import io

    writer = io.SeriesWriter(path, signals(), append=append)
    number = writer.frames
    while True:
        writer.append(make(number), **known(number))
        number += 1
        sys.stdout.write(f"{writer.frames}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(sys.argv[1], append=sys.argv[2:] == ["append"])
