"""Frames whose content follows from their number, and a process that writes them until it is killed."""

from __future__ import annotations

import sys

import numpy as np

SCAN, FRAME = (64, 64), (12, 20)


def make(first: int, n: int, packed: bool = True):
    """Return (index, frames, time_s) of frames first to first + n."""
    number = np.arange(first, first + n, dtype=np.uint64)
    words = (number[:, None] * np.uint64(2654435761) + np.arange(36, dtype=np.uint64) * np.uint64(40503)) >> np.uint64(
        7
    )
    frames = (words & np.uint64(255)).astype(np.uint8).reshape(n, 12, 3)
    frames[..., -1] &= 0x0F
    index = ((number * np.uint64(7919)) % np.uint64(SCAN[0] * SCAN[1])).astype(np.int64)
    if not packed:
        frames = (
            np.unpackbits(frames, axis=-1, count=FRAME[1], bitorder="little")
            * (number % 7).astype(np.uint8)[:, None, None]
        )
    return index, frames, number.astype(np.float64) * 1e-4


def write_for_ever(path: str, block: int, seed: int) -> None:
    """Append chunks of random sizes until killed; print the committed count after each."""
    from esteemcore import io, stream

    rng = np.random.default_rng(seed)
    spec = stream.Spec(SCAN, FRAME, np.uint8, packed=True)
    writer = io.Writer(path, spec, block=block)
    n = 0
    while True:
        size = int(rng.integers(1, 3 * block))
        index, frames, time_s = make(n, size)
        writer.append(stream.Chunk(index, frames, time_s=time_s))
        n += size
        if rng.random() < 0.3:
            writer.flush()
        sys.stdout.write(f"{writer.frames}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
