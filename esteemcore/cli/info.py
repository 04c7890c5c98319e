"""``esteem info FILE``: what a file holds and what it costs, without reading its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from esteemcore import io
from esteemcore.cli.options import file_bytes, is_container, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")


def run(arguments: argparse.Namespace) -> int:
    """Print signals, sizes, codecs and credits."""
    if is_container(arguments.file):
        found = io.info(arguments.file)
        print("\n".join([*found.describe(), f"closed: {'yes' if found.closed else 'no'}"]))
        return 0
    dataset = io.load(arguments.file)
    stored = file_bytes(arguments.file)
    raw = sum(signal.nbytes for signal in dataset.signals.values())
    print("\n".join(dataset.describe()))
    print(f"all: {size(stored)} on disk for {size(raw)} in memory; other programs' files do not tell their codecs")
    return 0
