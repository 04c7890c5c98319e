"""What several commands share: the calibrations of a 4D-STEM experiment, how files are opened, bars and sizes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from esteemcore import fourd, io
from esteemcore.errors import ParameterError
from esteemcore.io.container import SUFFIXES

_CALIBRATIONS = {
    "scan_step_nm": "distance of scan positions in nm",
    "beam_energy_kev": "beam energy in keV",
    "semiangle_mrad": "convergence semi-angle in mrad",
    "pixel_mrad": "size of a detector pixel in mrad",
}


def add_calibrations(parser: argparse.ArgumentParser) -> None:
    """Declare the calibrations; given ones win over those in the file."""
    group = parser.add_argument_group("calibrations, where the file does not have them or has them wrong")
    for name, text in _CALIBRATIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=float, help=text)
    group.add_argument("--center", nargs=2, type=float, metavar=("ROW", "COLUMN"), help="optical axis in pixels")
    group.add_argument("--rotation-deg", type=float, help="angle from the scan to the detector in degrees")
    group.add_argument("--flip", action="store_true", default=None, help="the detector is transposed")
    group.add_argument("--defocus-nm", type=float, help="defocus in nm (= -C10)")
    group.add_argument("--bins", type=int, default=128, help="bins of the bright-field disk (%(default)s)")


def calibrated(known: Mapping[str, Any], arguments: argparse.Namespace) -> tuple[fourd.Geometry | None, list[str]]:
    """Return the geometry of a file and the options together, or None and the names of what is missing."""
    names = (*_CALIBRATIONS, "center", "rotation_deg", "flip")
    values = {name: known[name] for name in (*names, "aberrations") if known.get(name) is not None}
    values |= {name: given for name in names if (given := getattr(arguments, name)) is not None}
    if arguments.defocus_nm is not None:
        values["aberrations"] = {**(values.get("aberrations") or {}), "C10": -arguments.defocus_nm}
    missing = [f"--{name.replace('_', '-')}" for name in _CALIBRATIONS if name not in values]
    return (None, missing) if missing else (fourd.Geometry(**values), [])


def result_folder(path: Path) -> Path:
    """Make the folder for results before the work begins, and return it.

    Raises
    ------
    ParameterError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"the folder {path} cannot be made ({error.strerror}); choose another --out") from error
    return path


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare that a container and its report may be replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace container and report that are there already")


def report_beside(out: Path, sources: Iterable[Path], held: str, *, overwrite: bool, in_folders: bool = False) -> Path:
    """Return where the report of a container goes, before the work begins.

    Parameters
    ----------
    out : Path
        The container to make.
    sources : iterable of Path
        What it is made from.
    held : str
        What the sources hold, in words.
    overwrite : bool
        Whether container and report may be replaced.
    in_folders : bool, optional
        Whether sources may be folders with other things in them, the container for one.

    Raises
    ------
    ParameterError
        If container or report are there already, the container would lie on or in its source, or its folder is missing.
    """
    page = out.with_suffix(".html")
    for path in (out, page):
        if path.exists() and not overwrite:
            raise ParameterError(f"{path} exists already; choose another name, or replace it with --overwrite")
    made = out.resolve()
    for source in sources:
        raw = source.resolve()
        inside = raw in made.parents and not (in_folders and raw.suffix != made.suffix)
        if made == raw or made in raw.parents or inside:
            raise ParameterError(f"{out} would take the place of the {held} in {source}; choose another name")
    if not out.parent.is_dir():
        raise ParameterError(f"there is no folder {out.parent}; make it first, or choose another one")
    return page


def stem(path: Path) -> str:
    """Return the name of a file or folder without its ending; what follows a dot in that of a plain folder is none."""
    where = path.resolve()
    plain = where.is_dir() and where.suffix.lower() not in (*SUFFIXES, ".zspy")
    return where.name if plain else where.stem


def add_scan(parser: argparse.ArgumentParser) -> None:
    """Declare what a file with frames may not know of its scan."""
    parser.add_argument("--scan-shape", nargs=2, type=int, metavar=("Y", "X"), help="scan positions, if unknown")
    parser.add_argument("--coordinates", type=Path, help="file of visited positions (Direct Electron movies)")


def loaded(arguments: argparse.Namespace) -> io.Dataset:
    """Open ``arguments.file`` with what `add_scan` declared."""
    options: dict[str, Any] = {}
    if arguments.scan_shape is not None:
        options["scan_shape"] = tuple(arguments.scan_shape)
    if arguments.coordinates is not None:
        options["coordinates"] = arguments.coordinates
    return io.load(arguments.file, **options)


def is_container(path: Path) -> bool:
    """Tell a container of Esteem, a folder or a zip, from a file of another program."""
    from esteemcore.io.zipped import is_packed

    return (path.is_dir() and path.suffix.lower() != ".zspy") or (path.is_file() and is_packed(path))


def file_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def size(n: float) -> str:
    """Return a number of bytes in words."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= factor:
            return f"{n / factor:,.1f} {unit}"
    return f"{n:,.0f} bytes"


@contextlib.contextmanager
def bar(text: str) -> Iterator[Callable[[float], None]]:
    """Show the fraction done on stderr; yields what to call with it."""
    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=100, desc=text, bar_format=shape, leave=False) as shown:

        def progress(done: float) -> None:
            shown.update(min(100 * done, 100) - shown.n)

        yield progress
