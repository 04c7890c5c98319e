"""Sizes and speeds of the event codecs beside general compressors, one thread.

``python -m benchmarks.codec [--json FILE] [--seeds N] [--shape Y X E]``. Sizes are compared with the Shannon entropy of
the rates that the counts were drawn from. Speeds of spectrum images are in MB/s of the dense uint32 image.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from benchmarks import codec_data
from benchmarks.timing import best, report
from esteemcore import codec, events
from esteemcore.codec import events as events_codec

EDX_FILLED = (4e-4, 1e-3, 1e-2, 5e-2)
FRAMES_FILLED = (1e-4, 1e-3, 1e-2, 5e-2)
LBJ_BYTES = 83_000
"""Size of the paper's .lbj of a 200x200x2048 image that is 0.04 % filled."""


def measure(
    program: str,
    data: str,
    entropy: float,
    amount: float,
    unit: str,
    encode: Callable[[], bytes],
    decode: Callable[[bytes], Any] | None,
) -> dict[str, Any]:
    """Return a row of the table; ``amount`` is what one call encodes, in the unit of the speeds."""
    block = encode()
    repeats = 3
    cpu_in, wall_in = best(encode, repeats)
    if decode is not None:
        decode(block)
    cpu_out, wall_out = best(lambda: decode(block), repeats) if decode is not None else (np.inf, np.inf)
    return {
        "program": program, "data": data, "bytes": len(block), "x entropy": f"{len(block) / entropy:.3f}",
        "unit": unit, "encode/CPU s": f"{amount / cpu_in:,.0f}", "encode/wall s": f"{amount / wall_in:,.0f}",
        "decode/CPU s": f"{amount / cpu_out:,.0f}", "decode/wall s": f"{amount / wall_out:,.0f}",
    }  # fmt: skip


def blosc(item: int) -> numcodecs.Blosc:
    """Return Blosc with bit shuffle and zstd, the setting that suits sparse counts best."""
    return numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE, typesize=item)


def spectrum_images(shape: tuple[int, int, int], seeds: int) -> list[dict[str, Any]]:
    """Measure spectrum images of three phases."""
    rows = []
    for filled in EDX_FILLED:
        for seed in range(1, seeds + 1):
            counts, entropy = codec_data.edx(shape, filled, seed)
            label = f"EDX {'x'.join(map(str, shape))}, {100 * filled:g} % filled, seed {seed}"
            sparse, mb = events.SparseSI.from_dense(counts), counts.nbytes / 1e6
            config = {"dtype": "uint32", "hits": len(sparse.count), "shape": list(shape)}
            zstd = numcodecs.Zstd(level=3)

            def row(program: str, encode: Any, decode: Any = None, label=label, entropy=entropy, mb=mb) -> None:
                rows.append(measure(program, label, entropy, mb, "MB dense", encode, decode))

            row("esteem", lambda counts=counts: codec.encode_events(counts), codec.decode_events)
            row("esteem, from sparse", lambda sparse=sparse: codec.encode_events(sparse), codec.decode_events)
            if seed > 1:
                continue
            row(
                "varint + zstd-3",
                lambda sparse=sparse, config=config: events_codec._encode_varint(sparse, sparse.count, config),
                codec.decode_events,
            )
            flat = counts.reshape(-1)
            row("zip (deflate 6)", lambda flat=flat: zlib.compress(flat, 6), zlib.decompress)
            row("zstd 3", lambda flat=flat, zstd=zstd: bytes(zstd.encode(flat)), zstd.decode)
            row("Blosc bitshuffle zstd", lambda counts=counts: bytes(blosc(4).encode(counts)), blosc(4).decode)
            note = {"program": "dense, entropy", "data": label, "bytes": f"{counts.nbytes} {entropy:.0f}"}
            rows.append(note | ({"x entropy": f".lbj: {LBJ_BYTES}"} if filled == EDX_FILLED[0] else {}))
    return rows


def binary_frames(n: int) -> list[dict[str, Any]]:
    """Measure batches of one-bit frames, 256x256."""
    rows = []
    for filled in FRAMES_FILLED:
        packed, entropy = codec_data.frames(codec_data.disk_pattern((256, 256), filled), n, seed=1)
        label = f"{n} frames 256x256, {100 * filled:g} % filled"
        zstd = numcodecs.Zstd(level=3)
        for program, encode, decode in (
            ("esteem", lambda p=packed: codec.encode_binary(p), codec.decode_binary),
            ("packed bits + zip", lambda p=packed: zlib.compress(p, 6), zlib.decompress),
            ("packed bits + zstd 3", lambda p=packed, zstd=zstd: bytes(zstd.encode(p)), zstd.decode),
            ("packed bits + Blosc zstd", lambda p=packed: bytes(blosc(1).encode(p)), blosc(1).decode),
        ):
            rows.append(measure(program, label, entropy * n, n, "frames", encode, decode))
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--seeds", type=int, default=3, help="spectrum images of each density (%(default)s)")
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 200, 2048), help="y x energy (%(default)s)")
    parser.add_argument("--frames", type=int, default=512, help="frames in a batch (%(default)s)")
    arguments = parser.parse_args()
    numcodecs.blosc.set_nthreads(1)
    rows = [*spectrum_images(tuple(arguments.shape), arguments.seeds), *binary_frames(arguments.frames)]
    report("codec", rows, arguments.json)


if __name__ == "__main__":
    main()
