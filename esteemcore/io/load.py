"""Open any file: which reader gets it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.io import container, zarr_json
from esteemcore.io.dataset import Dataset
from esteemcore.io.zipped import is_packed

_CONTAINER_FILE = zarr_json.METADATA


def load(
    path: str | Path, *, scan_shape: Sequence[int] | None = None, coordinates: str | Path | None = None
) -> Dataset:
    """Open a container of Esteem or, through RosettaSciIO, a file of another program.

    Data stay on disk and are read when they are sliced, where the format allows it; packed frames stay packed.

    Parameters
    ----------
    path : str or Path
        The container's folder, the zip that it was packed into (``*.esteem.zip``), or the file.
    scan_shape : pair of int, optional
        ``(y, x)`` of the scan, for frames in visit order whose file does not say it.
    coordinates : str or Path, optional
        File of the visited positions of a Direct Electron movie, one ``x, y`` per frame. Default:
        ``<name>_scan_coordinates.csv`` beside ``<name>_movie.mrc``.

    Returns
    -------
    Dataset

    Raises
    ------
    FormatError
        If there is no such file, it is of an unknown kind, or damaged; one line with the cause.

    Examples
    --------
    >>> from esteemcore import io
    >>> io.load("missing.esteem")
    Traceback (most recent call last):
    ...
    esteemcore._core.errors.FormatError: missing.esteem does not exist
    """
    path = container.given_path(path)
    shape = None if scan_shape is None else checks.shape_2d("scan_shape", scan_shape)
    try:
        if not path.exists():
            raise FormatError(f"{path} does not exist")
        folder = path.is_dir()
        if not folder:
            with path.open("rb"):
                pass
    except OSError as error:
        raise FormatError(f"{path} cannot be opened: {error.strerror or error}") from error
    if path.name == _CONTAINER_FILE and container.is_container(path.parent):
        path, folder = path.parent, True
    packed = not folder and is_packed(path)
    if packed or (folder and path.suffix.lower() != ".zspy"):
        if coordinates is not None or shape is not None:
            raise ParameterError(
                "scan_shape and coordinates are for files of other programs; a container knows its scan"
            )
        from esteemcore.io.read_container import load_container, place_of

        return load_container(place_of(path))
    suffix = path.suffix.lower()
    if suffix == ".mrc":
        from esteemcore.io.movie import find_coordinates, load_movie

        found = find_coordinates(path) if coordinates is None else Path(coordinates)
        if found is not None:
            return load_movie(path, found, shape)
    if coordinates is not None:
        raise ParameterError(f"coordinates are understood for Direct Electron movies (.mrc), but this is {path.name}")
    if suffix == ".mib":
        from esteemcore.io.merlin import load_merlin

        return load_merlin(path, shape)
    from esteemcore.io.nion import is_nion, load_nion

    if shape is None and is_nion(path):
        return load_nion(path)
    from esteemcore.io.foreign import load_foreign

    return load_foreign(path, shape)
