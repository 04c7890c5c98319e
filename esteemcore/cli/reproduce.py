"""``esteem reproduce RESULTS``: recorded images made again from the raw frames, and compared."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from esteemcore import __version__, fourd, io, stream
from esteemcore._core import provenance
from esteemcore.cli.results import Chain, named, read_chain
from esteemcore.errors import FormatError
from esteemcore.io.compare import distance, same_numbers

COMPARED = ("function", "then", "parameters", "seed", "input_digest")
"""What must be the same in the provenance; version and time are told only."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="results that esteem live --save wrote")
    parser.add_argument("--raw", type=Path, help="the raw frames; default: the file that the results name")


def run(arguments: argparse.Namespace) -> int:
    """Make the images again; 0 when all are the same, 1 when one is not."""
    dataset = io.load(arguments.file)
    chain = read_chain(dataset)
    folder = arguments.file.absolute().parent
    raw = arguments.raw or folder / chain.raw
    if not raw.exists():
        raise FormatError(f"{raw}, the raw frames of {arguments.file}, is not there; say where they are with --raw")
    results = named(_run_again(raw, folder, chain), chain.geometry)
    rows = [_row(name, signal, results) for name, signal in dataset.signals.items()]
    rows += [(name, "", "not recorded", "") for name in results.keys() - dataset.signals.keys()]
    versions = sorted({str(_made(s).get("version")) for s in dataset.signals.values() if _made(s)})
    print(f"made with Esteem {', '.join(versions)}, made again with {__version__} from {raw}")
    widths = [max(len(row[i]) for row in (*rows, _HEAD)) for i in range(len(_HEAD))]
    for row in (_HEAD, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0 if all(row[2] == "same" for row in rows) else 1


_HEAD = ("image", "made by", "result", "")


def _run_again(raw: Path, folder: Path, chain: Chain) -> Mapping[str, Any]:
    options = dict(chain.options)
    if "coordinates" in options:
        options["coordinates"] = folder / options["coordinates"]
    source = io.source(io.load(raw, **options), chain.signal)
    reducers = fourd.live_reducers(chain.geometry, source.spec.frame_shape, bins=chain.bins)

    def chunks() -> Iterator[stream.Chunk]:
        with tqdm(total=len(source), unit=" frames", desc=raw.name) as bar:
            for chunk in source.chunks():
                yield chunk
                bar.update(len(chunk))

    return stream.run(reducers, source.spec, chunks())


def _made(signal: io.Signal) -> dict[str, Any]:
    made = signal.metadata.get("provenance")
    return made if isinstance(made, dict) else {}


def _row(name: str, signal: io.Signal, results: Mapping[str, tuple[NDArray[Any], str, Any]]) -> tuple[str, ...]:
    """Return one line of the table: name, function, verdict, why."""
    before = _made(signal)
    function = str(before.get("function", "?")) + (f", {before['then']}" if before.get("then") else "")
    if name not in results or not before:
        return name, function, "not reproduced", "nothing is recorded that makes it again"
    data, _, now = results[name]
    stored = np.asarray(signal.data[...])
    if provenance.digest(stored) != signal.metadata.get("digest"):
        return name, function, "different", "the stored values are not those that were recorded"
    changed = [key for key in COMPARED if before.get(key) != now.get(key)]
    if changed:
        words = {"input_digest": "raw frames"}
        return name, function, "different", f"other {', '.join(words.get(key, key) for key in changed)}"
    if provenance.digest(data) == provenance.digest(stored):
        return name, function, "same", ""
    return name, function, "different", _how(np.asarray(data), stored)


def _how(data: NDArray[Any], stored: NDArray[Any]) -> str:
    """Return in words how values that were made again differ from those that were stored."""
    if data.shape != stored.shape:
        return f"shape {data.shape} instead of {stored.shape}"
    if data.dtype.newbyteorder("=") != stored.dtype.newbyteorder("="):
        return f"dtype {data.dtype} instead of {stored.dtype}"
    differs = ~same_numbers(data, stored)
    count = int(np.count_nonzero(differs))
    if not count:
        return "by the sign of zeros or the bits of NaN only"
    error = distance(data[differs], stored[differs])
    beyond = int(np.count_nonzero(~np.isfinite(error)))
    values = f"{count:,} of {data.size:,} values, "
    if beyond == count:
        return values + "each NaN or infinite in one of them only"
    size = np.abs(stored if stored.dtype.kind in "fc" else stored.astype(np.float64))
    largest = f"by at most {error[np.isfinite(error)].max():.3g}, values up to {size[np.isfinite(size)].max():.3g}"
    return values + largest + (f"; {beyond:,} are NaN or infinite in one of them only" if beyond else "")
