"""Measure what files from instruments become as containers, each value compared; prints a table in Markdown.

    python scripts/measure_real_files.py FOLDER [--largest-gb 3]

Every file below FOLDER that can be read is saved twice: in the codecs that `esteemcore.io.save` chooses, and whole
counts of spectra as events too. Zips are unpacked first. Nothing is written into FOLDER.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from esteemcore import io
from esteemcore.cli.options import file_bytes, size
from esteemcore.errors import EsteemError
from esteemcore.io.chunk_codecs import EVENTS
from esteemcore.io.compare import compare

HEAD = ("file", "format", "largest signal", "on disk", "as arrays", "container", "as events", "smaller than arrays",
        "smaller than file", "round trip")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    cells: tuple[str, ...]
    file: int
    container: int


def main() -> int:
    """Measure all files of a folder."""
    parser = argparse.ArgumentParser(description="Measure what files from instruments become as containers.")
    parser.add_argument("folder", type=Path, help="folder with files from instruments")
    parser.add_argument(
        "--largest-gb", type=float, default=3.0, help="leave out what is larger as arrays (%(default)s)"
    )
    arguments = parser.parse_args()
    rows, refused = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(_files(arguments.folder, Path(scratch) / "unzipped")):
            try:
                rows.append(measure(path, Path(scratch), arguments.largest_gb * 1e9))
                sys.stderr.write(f"{path.name}: done\n")
            except EsteemError as error:
                refused.append(f"{path.name}: {str(error).replace(str(path), path.name)[:160]}")
    before, after = sum(row.file for row in rows), sum(row.container for row in rows)
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, *(row.cells for row in rows))]
    lines.insert(1, f"|{'---|' * len(HEAD)}")
    lines += ["", f"All {len(rows)} files: {size(before)} before, {size(after)} after."]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stderr.writelines(f"left out: {line}\n" for line in refused)
    return 0


def measure(path: Path, scratch: Path, largest: float) -> Row:
    """Save a file as a container, read it again, and compare every value."""
    dataset = io.load(path)
    arrays = sum(signal.nbytes for signal in dataset.signals.values())
    if arrays > largest:
        raise EsteemError(f"{path.name} has {size(arrays)} as arrays")
    stored, same = _round_trip(dataset, {}, scratch / "chosen.esteem")
    counted = [n for n, s in dataset.signals.items() if s.axes[-1].name == "energy" and len(s.axes) in (3, 4)
               and np.dtype(s.data.dtype).kind in "iu"]  # fmt: skip
    events = "-"
    if counted:
        smaller, also = _round_trip(dataset, dict.fromkeys(counted, EVENTS), scratch / "events.esteem")
        events, same = size(smaller), same and also
        stored, chosen = min(stored, smaller), stored
    else:
        chosen = stored
    signal = max(dataset.signals.values(), key=lambda s: s.nbytes)
    shape = " x ".join(str(axis.size) for axis in signal.axes)
    kind = "1 bit" if signal.kind == "packed" else np.dtype(signal.data.dtype).name
    file = file_bytes(path) + sum(map(file_bytes, _companions(path)))
    cells = (
        path.name,
        dataset.format.removesuffix(" file"),
        f"{kind}, {shape}",
        *map(size, (file, arrays, chosen)),
        events,
        *(f"{before / stored:.1f}" if before > stored else f"{before / stored:.2f}" for before in (arrays, file)),
        "same" if same else "DIFFERENT",
    )
    return Row(cells, file, stored)


def _round_trip(dataset: io.Dataset, codec: dict[str, str], path: Path) -> tuple[int, bool]:
    """Return the bytes of the container and whether all values came back."""
    io.save(path, dataset, codec=codec, overwrite=True)
    copy = io.load(path)
    found = [compare(signal, copy.signals[name], name, lambda n: None) for name, signal in dataset.signals.items()]
    return file_bytes(path), not any(difference.different for difference in found)


def _files(folder: Path, unzipped: Path) -> Iterator[Path]:
    """Yield the files to try: all but those that go with another one."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".zip":
            target = unzipped / path.stem
            with zipfile.ZipFile(path) as file:
                file.extractall(target)
            yield from _files(target, unzipped)
        elif path.is_file() and path.suffix.lower() not in (".csv", ".txt", ".hdr") and "_data_" not in path.name:
            yield path


def _companions(path: Path) -> list[Path]:
    """Return the files that hold the data of a master file."""
    return sorted(path.parent.glob(f"{path.stem.removesuffix('_master')}_data_*")) if "_master" in path.stem else []


if __name__ == "__main__":
    sys.exit(main())
