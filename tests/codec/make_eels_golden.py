"""Make the small EELS and lossless blocks of ``golden/``: run once per version; the files are never made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from esteemcore.codec.eels import encode_eels
from esteemcore.codec.lossless import encode_lossless
from esteemcore.codec.zarr_eels import EelsBlocksZarrCodec

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = [(0, 20, 4), (20, 30, 1), (30, 64, 16)]


def spectra() -> np.ndarray:
    """Return a small spectrum image with everything that needs care."""
    counts = np.random.default_rng(5).poisson(1000 * np.exp(-np.arange(64) / 15) + 1, (8, 9, 64)).astype(np.float32)
    counts += np.random.default_rng(6).normal(0, 2, counts.shape).astype(np.float32)
    counts[1, 2, 3], counts[4, 5, 25], counts[0, 0, 60], counts[7, 8, 40] = np.nan, 1e30, -np.inf, 12345.0
    return counts


def write_zarr(path: Path) -> None:
    """Write the spectrum image as a Zarr array of one chunk, the last row and column of which are beyond its shape."""
    counts, serializer = spectra(), EelsBlocksZarrCodec(BLOCKS, outliers="keep")
    array = zarr.create_array(
        path, shape=counts.shape, dtype="f4", chunks=(9, 10, 64), serializer=serializer, compressors=None,
        filters=None, fill_value=0,
    )  # fmt: skip
    array[...] = counts


if __name__ == "__main__":
    (GOLDEN / "eels_blocks_v1.bin").write_bytes(encode_eels(spectra(), blocks=BLOCKS, outliers="keep", readout_sigma=2))
    (GOLDEN / "eels_bounded_v1.bin").write_bytes(encode_eels(spectra(), bound_sigma=0.5, readout_sigma=2))
    whole = np.nan_to_num(spectra(), posinf=0, neginf=0).clip(-1e5, 1e5).astype(np.int32)
    (GOLDEN / "eels_bounded_int_v1.bin").write_bytes(encode_eels(whole, bound_sigma=0.5, readout_sigma=2))
    roots = np.sqrt(np.arange(2 * 3 * 40, dtype=np.float32)).reshape(2, 3, 40) * np.float32(-1)
    (GOLDEN / "lossless_v1.bin").write_bytes(encode_lossless(roots))
    write_zarr(GOLDEN / "eels_blocks_v1.zarr")
