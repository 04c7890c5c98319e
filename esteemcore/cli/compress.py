"""``esteem compress FILE OUT``: any file that can be read into a small container, every value compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from esteemcore import io
from esteemcore.cli.options import add_scan, bar, file_bytes, loaded, size
from esteemcore.cli.verify import verify_copy
from esteemcore.errors import FormatError, ParameterError
from esteemcore.io.chunk_codecs import BOUNDED, STORED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")
    parser.add_argument("out", type=Path, help="container to make, *.esteem or *.zarr")
    parser.add_argument("--signal", help="which signal the codec is for, when the file holds several")
    parser.add_argument("--codec", choices=STORED, help="codec of the signal; default: what suits it, without loss")
    parser.add_argument("--bound-sigma", type=float, help="allow errors of EELS up to this part of the noise")
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
    lossy = {signal.name for signal in found.signals if signal.codec not in _EXACT}
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


_EXACT = tuple(name for name in STORED if name != BOUNDED)


def _codecs(arguments: argparse.Namespace, dataset: io.Dataset) -> dict[str, Any]:
    """Return the codec that the options ask for, by the name of the signal it is for."""
    noise = {name: getattr(arguments, name) for name in ("bound_sigma", "gain", "readout_sigma")}
    noise = {name: value for name, value in noise.items() if value is not None}
    codec = arguments.codec or (BOUNDED if "bound_sigma" in noise else None)
    if noise and (codec != BOUNDED or "bound_sigma" not in noise):
        raise ParameterError(f"--bound-sigma, --gain and --readout-sigma are for {BOUNDED}, which needs --bound-sigma")
    if codec == BOUNDED and not noise:
        raise ParameterError(f"{BOUNDED} loses something on purpose: say how much with --bound-sigma")
    if arguments.signal is not None and arguments.signal not in dataset.signals:
        raise ParameterError(f"there is no signal {arguments.signal!r}; there are {', '.join(dataset.signals)}")
    if codec is None:
        if arguments.signal is not None:
            raise ParameterError("--signal says which signal --codec or --bound-sigma is for; give one of them")
        return {}
    if arguments.signal is None and len(dataset.signals) > 1:
        raise ParameterError(f"there are several signals: name one of {', '.join(dataset.signals)} with --signal")
    name = arguments.signal or next(iter(dataset.signals))
    return {name: {"name": codec, **noise}}


def _print_loss(loss: dict[str, Any]) -> None:
    text = f"  lossy as asked: largest error {loss['largest_error']:.4g}, rms {loss['rms_error']:.4g}"
    if "largest_error_sigma" in loss:
        text += f", at most {loss['largest_error_sigma']:.3f} of the noise"
    print(text)
