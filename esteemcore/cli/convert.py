"""``esteem convert FILE OUT``: from any file that can be read to the format that the suffix of OUT names."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from esteemcore import io
from esteemcore.cli.options import add_scan, bar, file_bytes, loaded, size
from esteemcore.errors import ParameterError
from esteemcore.io import exports, zipped
from esteemcore.io.container import SUFFIXES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    kinds = " ".join((*SUFFIXES, *zipped.SUFFIXES, *exports.FORMATS))
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")
    parser.add_argument("out", type=Path, help=f"file to make; its suffix says the format: {kinds}")
    parser.add_argument("--signal", help="which signal, when the file holds several; for a container default: all")
    parser.add_argument("--signal-type", help="kind of the signal in the words of HyperSpy, e.g. EELS or EDS_TEM")
    room = "GiB that may be in memory where a format is written as a whole (%(default)g)"
    parser.add_argument("--memory-gb", type=float, default=exports.MEMORY_BYTES / 2**30, help=room)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    add_scan(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    if zipped.is_zip_name(arguments.out):
        return _pack(arguments)
    dataset = loaded(arguments)
    if arguments.out.suffix.lower() in SUFFIXES:
        if arguments.signal_type is not None:
            raise ParameterError("--signal-type is for files of other programs; a container keeps what the file said")
        if arguments.signal is not None:
            if arguments.signal not in dataset.signals:
                raise ParameterError(f"there is no signal {arguments.signal!r}; there are {', '.join(dataset.signals)}")
            dataset = dataclasses.replace(dataset, signals={arguments.signal: dataset.signals[arguments.signal]})
        with bar("writing") as progress:
            io.save(arguments.out, dataset, overwrite=arguments.overwrite, progress=progress)
        print("\n".join(io.info(arguments.out).describe()))
        return 0
    with bar("writing") as progress:
        made = exports.export(
            arguments.out,
            dataset,
            signal=arguments.signal,
            signal_type=arguments.signal_type,
            memory_bytes=int(max(arguments.memory_gb, 0) * 2**30),
            overwrite=arguments.overwrite,
            progress=progress,
        )
    shape = " x ".join(f"{axis.name} {axis.size:,}" for axis in made.axes)
    kind = f", {made.signal_type}" if made.signal_type else ""
    print(f"{arguments.out} ({made.format}): {made.signal}, {made.dtype}, {shape}{kind}, {size(file_bytes(made.path))}")
    for note in made.notes:
        print(f"note: {note}")
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    """Put a container into one file to mail, with all that is in it."""
    if not arguments.file.is_dir():
        raise ParameterError(
            f"{arguments.out.name} holds one container as it is, and {arguments.file} is none: make one first, with "
            "esteem compress or esteem convert to *.esteem"
        )
    if arguments.signal is not None or arguments.signal_type is not None:
        raise ParameterError(f"{arguments.out.name} holds a container as it is: --signal and --signal-type are no use")
    with bar("packing") as progress:
        made = io.pack(arguments.file, arguments.out, overwrite=arguments.overwrite, progress=progress)
    print(f"{made}: {size(file_bytes(made))}, to be read as it is")
    return 0
