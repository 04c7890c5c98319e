"""Errors in words for the user."""

from __future__ import annotations

from esteemcore.errors import EsteemError


def sentence(error: BaseException) -> str:
    """Return what went wrong: as Esteem says it, as the operating system says it, or with the kind of the error."""
    if isinstance(error, EsteemError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory of this computer is too small for that"
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"the operating system says {error.strerror!r}{place}"
    return f"{type(error).__name__}: {error}"
