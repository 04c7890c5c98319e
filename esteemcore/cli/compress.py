"""``esteem compress FILE OUT``: any file that can be read into a small container, every value compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io
from esteemcore.cli.options import add_scan, bar, file_bytes, loaded, size
from esteemcore.cli.verify import verify_copy
from esteemcore.errors import FormatError, ParameterError
from esteemcore.io.choose_codec import automatic_blocks, blocks_in_channels, parse_blocks
from esteemcore.io.chunk_codecs import BLOCKS, BOUNDED, EXACT, STORED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")
    parser.add_argument("out", type=Path, help="container to make, *.esteem or *.zarr")
    parser.add_argument("--signal", help="which signal the codec is for, when the file holds several")
    parser.add_argument("--codec", choices=STORED, help="codec of the signal; default: what suits it, without loss")
    parser.add_argument("--bound-sigma", type=float, help="allow errors of EELS up to this part of the noise")
    parser.add_argument(
        "--blocks", metavar="START:STOP:FACTOR,...", help="sample blocks of EELS channels coarsely; 'auto' chooses them"
    )
    parser.add_argument("--pca", type=int, metavar="K", help="principal components kept by --blocks; default: 30")
    parser.add_argument("--gain", type=float, help="counts per electron, for the noise; default: 1")
    parser.add_argument("--readout-sigma", type=float, help="readout noise in counts; default: 0")
    parser.add_argument("--overwrite", action="store_true", help="replace a container that is there already")
    add_scan(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the container, decode it again, and print what was saved and lost."""
    dataset = loaded(arguments)
    codecs = _codecs(arguments, dataset)
    with bar("writing") as progress:
        io.save(arguments.out, dataset, codec=codecs, overwrite=arguments.overwrite, progress=progress)
    found = io.info(arguments.out)
    copy = io.load(arguments.out)
    lossy = {signal.name for signal in found.signals if signal.codec not in EXACT}
    differences = verify_copy(dataset, copy)
    for signal in found.signals:
        print(f"{signal.name}: {signal.codec}, {size(signal.stored_bytes)}")
        print(differences[signal.name].describe())
        if signal.name in lossy and signal.loss:
            _print_loss(signal.loss[-1])
    stored = file_bytes(arguments.out)
    before = file_bytes(arguments.file)
    print(f"raw {size(found.raw_bytes)}, stored {size(stored)}, {found.raw_bytes / stored:.2f} times smaller")
    print(f"the file was {size(before)}: {before / stored:.2f} times smaller")
    changed = [name for name, difference in differences.items() if difference.different and name not in lossy]
    if changed:
        raise FormatError(f"{arguments.out}: {', '.join(changed)} came back changed; do not use this container")
    return 0


def _codecs(arguments: argparse.Namespace, dataset: io.Dataset) -> dict[str, Any]:
    """Return the codec that the options ask for, by the name of the signal it is for."""
    noise = _given(arguments, "gain", "readout_sigma")
    asked = {BOUNDED: _given(arguments, "bound_sigma"), BLOCKS: _given(arguments, "blocks", "pca")}
    if all(asked.values()):
        raise ParameterError("--bound-sigma and --blocks are both given: choose a bounded error or coarse blocks")
    codec = arguments.codec or next((name for name, given in asked.items() if given), None)
    for name, option in ((BOUNDED, "bound_sigma"), (BLOCKS, "blocks")):
        words = f"--{option.replace('_', '-')}"
        if codec == name and option not in asked[name]:
            raise ParameterError(f"{name} loses something on purpose: say how much with {words}")
        if codec != name and asked[name]:
            raise ParameterError(f"{words} is for {name}, not for {codec}")
    if noise and codec not in asked:
        raise ParameterError("--gain and --readout-sigma are for a loss, which needs --bound-sigma or --blocks")
    if arguments.signal is not None and arguments.signal not in dataset.signals:
        raise ParameterError(f"there is no signal {arguments.signal!r}; there are {', '.join(dataset.signals)}")
    if codec is None:
        if arguments.signal is not None:
            raise ParameterError(
                "--signal says which signal --codec, --bound-sigma or --blocks is for; give one of them"
            )
        return {}
    if arguments.signal is None and len(dataset.signals) > 1:
        raise ParameterError(f"there are several signals: name one of {', '.join(dataset.signals)} with --signal")
    name = arguments.signal or next(iter(dataset.signals))
    if codec == BLOCKS:
        return {name: {"name": codec, **_coarse(arguments, name, dataset.signals[name]), **noise}}
    return {name: {"name": codec, **asked.get(codec, {}), **noise}}


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _coarse(arguments: argparse.Namespace, name: str, signal: io.Signal) -> dict[str, Any]:
    """Return blocks, in channels, and components as the codec of coarse blocks takes them; tells which blocks."""
    axis = signal.axes[-1]
    if arguments.blocks == "auto":
        with bar("choosing blocks") as progress:
            blocks = automatic_blocks(name, signal, progress)
    else:
        blocks = blocks_in_channels(parse_blocks(arguments.blocks), axis)
    last = np.diff(axis.coordinates)[-1:] if axis.size > 1 else [axis.scale]
    at = np.append(axis.coordinates, axis.coordinates[-1:] + last)
    words = (f"{at[start]:g}:{at[stop]:g}:{factor}" for start, stop, factor in blocks)
    print(f"{name}: blocks in {axis.unit or 'channels'} {','.join(words)}")
    return {"blocks": blocks, **({} if arguments.pca is None else {"n_components": arguments.pca})}


def _print_loss(loss: dict[str, Any]) -> None:
    text = f"  lossy as asked: largest error {loss['largest_error']:.4g}, rms {loss['rms_error']:.4g}"
    if "shift_of_mean_sigma" in loss:
        text += (
            f", rms {loss['rms_error_sigma']:.3f} of the noise; {loss['voxels_beyond_8_sigma']:,} voxels changed by "
            f"more than 8 of it, the mean of the others by {loss['shift_of_mean_sigma']:.3f} of it at most; channels "
            "of factor 1 to four significant figures"
        )
    elif "largest_error_sigma" in loss:
        text += f", at most {loss['largest_error_sigma']:.3f} of the noise"
    print(text)
