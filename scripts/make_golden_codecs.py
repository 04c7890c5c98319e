"""Write the golden blocks of the event codecs: ``python scripts/make_golden_codecs.py``.

They prove that later versions read what earlier ones wrote; never write an existing one again. The truth of each is
made from raw random numbers, whose stream NumPy guarantees.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "codec" / "golden"


def uniform(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return numbers in [0, 1), the same with every version of NumPy."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return (raw >> np.uint64(11)).reshape(shape) * 2.0**-53


def spectrum_image(density: float, seed: int, dtype: type) -> np.ndarray:
    """Return counts (32, 32, 128) of two phases with a line each, and one very large count."""
    u = uniform((32, 32, 128), seed)
    energy = np.arange(128)
    background, line = np.exp(-energy / 40.0), 8 * np.exp(-0.5 * ((energy - 60) / 3.0) ** 2)
    y, x = np.mgrid[:32, :32]
    rate = density * (background + line * ((y - 16) ** 2 + (x - 12) ** 2 < 80)[..., None])
    counts = (u < rate).astype(dtype) + (u < 0.3 * rate) + (u < 0.05 * rate)
    counts[3, 4, 5] = np.iinfo(dtype).max
    return counts.astype(dtype)


def diffraction(filled: float, seed: int) -> np.ndarray:
    """Return packed frames (96, 40, 40) with a disk."""
    y, x = np.mgrid[:40, :40] - 19.5
    rate = filled * np.where(np.hypot(y, x) < 8, 6.0, 0.5)
    return np.packbits(uniform((96, 40, 40), seed) < rate, axis=-1, bitorder="little")


CASES: dict[str, Callable[[], Any]] = {
    "events-sparse": lambda: spectrum_image(0.002, 1, np.uint16),
    "events-middle": lambda: spectrum_image(0.02, 2, np.uint32),
    "events-dense": lambda: spectrum_image(0.12, 3, np.uint8),
    "events-bytes": lambda: np.eye(64, dtype=np.int32)[None].repeat(8, 0),
    "events-empty": lambda: np.zeros((3, 4, 5), np.uint64),
    "binary-sparse": lambda: diffraction(0.003, 4),
    "binary-dense": lambda: diffraction(0.13, 5),
    "binary-same": lambda: diffraction(0.2, 6)[:1].repeat(40, 0),
}


def main() -> None:
    """Write the blocks that do not exist yet."""
    from esteemcore import codec

    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in CASES.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            encode = codec.encode_events if name.startswith("events") else codec.encode_binary
            path.write_bytes(encode(make()))


if __name__ == "__main__":
    main()
