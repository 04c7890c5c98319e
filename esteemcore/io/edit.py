"""Credits for a container that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esteemcore._core.errors import FormatError, ParameterError, StreamError
from esteemcore.io import container, durable, zarr_json
from esteemcore.io.credits import KEY, Credits, with_checked_credits
from esteemcore.io.read_container import read_root


def set_credits(path: str | Path, credits: Credits | Mapping[str, Any]) -> None:
    """Replace the credits of a container in one durable step; nothing else is touched.

    Parameters
    ----------
    path : str or Path
        Folder of a container that nobody writes; a zip is packed again afterwards.
    credits : Credits or mapping
        The new ones.

    Raises
    ------
    ParameterError
        If they cannot be right.
    FormatError
        If it is no container, or still open.
    StreamError
        If the disk refuses.
    """
    folder = container.given_path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder} is no folder; credits are set in the folder, which is packed afterwards")
    root = read_root(folder)
    if root.get("closed") is not True:
        raise FormatError(
            f"{folder} was not closed; its writing process sets the credits (update), or a copy gets them"
        )
    if not isinstance(root.get("metadata"), dict):
        raise ParameterError(f"{folder} is damaged: its metadata are no table")
    root["metadata"] = container.plain(with_checked_credits({**root["metadata"], KEY: Credits.of(credits)}))
    try:
        zarr_json.write_metadata(folder, zarr_json.group_metadata({"esteem": root}))
    except OSError as error:
        raise StreamError(f"{folder} cannot be changed: {durable.reason(error)}; it is as it was") from error
