"""``esteem restore FILE OUT``: a container with plain arrays that any Zarr library reads."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from esteemcore import io
from esteemcore.cli.options import bar, file_bytes, size
from esteemcore.cli.verify import verify_copy
from esteemcore.errors import FormatError
from esteemcore.io.chunk_codecs import ZSTD
from esteemcore.io.export_blocks import EventBlocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem, a folder or a zip")
    parser.add_argument("out", type=Path, help="container to make, *.esteem or *.zarr")
    parser.add_argument("--overwrite", action="store_true", help="replace a container that is there already")


def run(arguments: argparse.Namespace) -> int:
    """Write every signal as a plain array, compare all values, and tell of former losses."""
    io.info(arguments.file)  # refuses what is no container
    dataset = io.load(arguments.file)
    plain = dataclasses.replace(
        dataset,
        signals={
            name: dataclasses.replace(signal, data=EventBlocks(signal.data), kind="dense")
            if signal.kind == "events"
            else signal
            for name, signal in dataset.signals.items()
        },
    )
    with bar("writing") as progress:
        codecs = dict.fromkeys(plain.signals, ZSTD)
        io.save(arguments.out, plain, codec=codecs, overwrite=arguments.overwrite, progress=progress)
    differences = verify_copy(dataset, io.load(arguments.out))
    for name, difference in differences.items():
        print(difference.describe())
        for loss in dataset.signals[name].metadata.get("loss") or ():
            print(f"  what was lost before is not there again: largest error {loss.get('largest_error', 'unknown')}")
    print(f"{size(file_bytes(arguments.file))} became {size(file_bytes(arguments.out))}")
    changed = [name for name, difference in differences.items() if difference.different]
    if changed:
        raise FormatError(f"{arguments.out}: {', '.join(changed)} came back changed; do not use this container")
    return 0
