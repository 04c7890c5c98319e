"""Decode changed blocks of all codecs: ``python scripts/fuzz_codecs.py [--cases 100000] [--seed 0]``.

Every case must give a `FormatError` or a value, never another error, a crash or a hang. Most of the changed blocks get
a matching checksum, so that what lies behind it is reached.
"""

from __future__ import annotations

import argparse
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import google_crc32c
import numpy as np

from esteemcore import codec
from esteemcore.codec import binary, events, frame
from esteemcore.errors import FormatError

LIMIT = 200_000
"""Most values while decoding."""

DECODERS: dict[Callable[..., Any], dict[str, int]] = {
    codec.decode_events: {"max_values": LIMIT},
    codec.decode_binary: {"max_values": LIMIT},
    codec.decode_eels: {"max_values": LIMIT},
    codec.decode_lossless: {"max_bytes": 8 * LIMIT},
}
"""What decodes, and the bound on memory that it is given."""


def seeds(rng: np.random.Generator) -> list[bytes]:
    """Return small blocks of every kind."""
    images = [rng.poisson(rate, (16, 17, 24)).astype(np.uint32) for rate in (0.003, 0.05, 0.6)]
    images[0][2, 3, 4], images[2][5, 6, 7] = 2**32 - 1, 70_000
    phases = rng.poisson(0.02 + 0.3 * (np.arange(48) > 20)[:, None, None], (48, 48, 12))
    frames = [np.packbits(rng.random((24, 16, 16)) < p, axis=-1, bitorder="little") for p in (0.01, 0.2, 0.8)]
    disk = np.packbits(rng.random((64, 32, 32)) < 0.7 * (np.arange(32) < 12)[:, None], axis=-1, bitorder="little")
    blocks = [codec.encode_events(image) for image in (*images, phases, np.eye(24, dtype=np.int8)[None])]
    blocks += [codec.encode_binary(batch) for batch in (*frames, disk)]
    blocks.append(binary._encode_gaps(frames[0].shape, frames[0]))
    blocks.append(binary._encode_bits(frames[0].shape, frames[0]))
    sparse = codec.decode_events(blocks[1])
    config = {"dtype": "uint32", "hits": len(sparse.count), "shape": list(sparse.shape)}
    blocks.append(events._encode_varint(sparse, sparse.count, config))
    spectra = rng.poisson(300 * np.exp(-np.arange(48) / 20) + 2, (8, 8, 48)).astype(np.float32)
    spectra[2, 3, 4], spectra[5, 5, 30] = np.nan, 9e4
    blocks.append(codec.encode_eels(spectra, bound_sigma=0.5, readout_sigma=1.0))
    blocks.append(codec.encode_eels(np.nan_to_num(spectra).astype(np.int32), bound_sigma=1.0))
    blocks.append(codec.encode_eels(spectra, blocks=[(0, 20, 4), (20, 30, 1)], outliers="keep"))
    blocks += [codec.encode_lossless(array) for array in (spectra, phases, images[0].astype(">i2"))]
    return blocks


def mutate(block: bytes, rng: np.random.Generator) -> bytes:
    """Return a changed block: bytes overwritten, cut out, put in or swapped, configuration or payload."""
    if rng.random() < 0.3:
        whole = frame.unpack(block)
        config, payload = dict(whole.config), bytearray(whole.payload)
        key = list(config)[rng.integers(len(config))]
        strange = [0, 1, -1, 2, 255, 2**31, 2**62, 2**70, 1.5, None, [], [1, 2, 3], "", "uint8", {"a": 1}, True]
        value = config[key]
        if isinstance(value, int) and rng.random() < 0.6:
            config[key] = value + int(rng.integers(-3, 4))
        elif isinstance(value, list) and rng.random() < 0.6:
            config[key] = shifted(value, rng)
        else:
            config[key] = strange[rng.integers(len(strange))]
        return frame.pack(whole.codec, config, bytes(payload))
    changed = bytearray(block)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(changed) + 1))
        kind = rng.integers(4)
        if kind == 0 and at < len(changed):
            changed[at] = int(rng.integers(256))
        elif kind == 1 and at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 12))]
        else:
            changed[at:at] = rng.bytes(int(rng.integers(1, 12)))
    return seal(bytes(changed)) if rng.random() < 0.7 else bytes(changed)


def shifted(value: Any, rng: np.random.Generator) -> Any:
    """Return whole numbers, in lists of any depth, that are a little larger or smaller."""
    if isinstance(value, list):
        return [shifted(entry, rng) for entry in value]
    return value + int(rng.integers(-2, 3)) if isinstance(value, int) else value


def seal(block: bytes) -> bytes:
    """Return a block with the payload length and checksum that its bytes ask for, as far as there is a head."""
    if len(block) < 20:
        return block
    n_name = block[5]
    if len(block) >= 12 + n_name:
        n_words = struct.unpack_from("<H", block, 6 + n_name)[0]
        start = 16 + n_name + n_words
        if len(block) >= start + 4:
            block = block[: start - 8] + struct.pack("<Q", len(block) - start - 4) + block[start:]
    return block[:-4] + struct.pack("<I", google_crc32c.value(block[:-4]))


def check(block: bytes) -> bool:
    """Decode a block; returns whether it was refused."""
    refused = 0
    for decode, limit in DECODERS.items():
        try:
            decode(block, **limit)
        except FormatError:
            refused += 1
    return refused == len(DECODERS)


def cases(n: int, seed: int) -> Iterator[bytes]:
    """Yield changed blocks."""
    rng = np.random.default_rng(seed)
    blocks = seeds(rng)
    for _ in range(n):
        yield mutate(blocks[rng.integers(len(blocks))], rng)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began, refused, slowest = time.perf_counter(), 0, 0.0
    for block in cases(arguments.cases, arguments.seed):
        start = time.perf_counter()
        refused += check(block)
        slowest = max(slowest, time.perf_counter() - start)
    took = time.perf_counter() - began
    print(f"{arguments.cases} cases in {took:.0f} s, {refused} refused, slowest {slowest:.2f} s")  # noqa: T201


if __name__ == "__main__":
    main()
