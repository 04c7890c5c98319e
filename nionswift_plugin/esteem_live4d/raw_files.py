"""Where raw frames go: folders as users type them, and names that are still free."""

from __future__ import annotations

import time
from pathlib import Path

from esteemcore.errors import ParameterError


def folder_of(text: str) -> Path:
    """Return the folder that a user has typed.

    Raises
    ------
    ParameterError
        If it is none, or one whose place would depend on where Swift was started.
    """
    try:
        folder = Path(text.strip()).expanduser()
    except RuntimeError:
        raise ParameterError(f"{text.strip()} begins with a home folder that does not exist") from None
    if not folder.is_absolute():
        raise ParameterError("choose a folder for the raw frames, from its root on, or do not keep them")
    return folder


def free_name(folder: Path, end: str = "") -> Path:
    """Return a new name by date and time."""
    stem = time.strftime("live4d_%Y%m%d_%H%M%S")
    names = [f"{stem}{end}.esteem", *(f"{stem}_{k}{end}.esteem" for k in range(2, 100))]
    return next((folder / name for name in names if not (folder / name).exists()), folder / names[-1])
