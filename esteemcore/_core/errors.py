"""Definitions of the exception tree; users import it from ``esteemcore.errors``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class EsteemError(Exception):
    """Base of every error that Esteem raises on purpose."""


class ParameterError(EsteemError, ValueError):
    """An argument is wrong: the message says what was given, what was expected and what to do."""


class CalibrationError(EsteemError):
    """A calibration is missing or physically impossible."""


class FormatError(EsteemError):
    """A file or byte string is damaged, of an unknown kind, or of a kind that is not supported."""


class StreamError(EsteemError):
    """An acquisition or a stream of frames cannot go on.

    Parameters
    ----------
    message : str
        What happened, what is safe, what to do.
    results : Mapping[str, Any], optional
        Results by name that could still be made.
    """

    def __init__(self, message: str, results: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.results = dict(results or {})


class ReducerError(StreamError):
    """One or more reducers failed; the raw data are whole and `results` holds what the others made."""


class DependencyError(EsteemError, ImportError):
    """An optional library is absent.

    Parameters
    ----------
    library : str
        The library that could not be imported.
    extra : str
        The extra of ``nionswift-esteem`` that installs it.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f'{library} is not installed; run: python -m pip install "nionswift-esteem[{extra}]"')
        self.library = library
        self.extra = extra

    def __reduce__(self) -> tuple[type[DependencyError], tuple[str, str]]:
        return type(self), (self.library, self.extra)


class CancelledError(EsteemError):
    """The caller asked for the work to stop."""
