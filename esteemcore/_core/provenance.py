"""Where a result came from: what was called, on what, with which parameters, when."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore._core.errors import ParameterError


def digest(*arrays: Any) -> str:
    """Return a hex digest (128 bits) of the shapes, dtypes and values of arrays.

    Parameters
    ----------
    *arrays : array_like
        Any number of arrays, not of Python objects; their order matters.

    Returns
    -------
    str
        32 hexadecimal digits; equal input gives equal output on every platform.
    """
    state = hashlib.blake2b(digest_size=16)
    for item in arrays:
        array = np.asarray(item)
        if array.dtype.hasobject:
            raise ParameterError(f"an array of dtype {array.dtype} has no digest; give numbers, strings or times")
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(memoryview(array.reshape(-1).view(np.uint8)))
    return state.hexdigest()


def _plain(value: Any) -> Any:
    """Reduce a parameter to what JSON can hold; arrays become their digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.floating):
        value = float(value)
    elif isinstance(value, (np.bool_, np.integer, np.str_)):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or (value.size <= 16 and value.dtype.kind in "biufU"):
            return _plain(value.tolist())
        return {"shape": list(value.shape), "dtype": value.dtype.str, "digest": digest(value)}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """The record that every result carries.

    Attributes
    ----------
    function : str
        Dotted name of the public function or class.
    version : str
        Version of Esteem.
    parameters : dict
        The parameters as plain, JSON-ready values; large arrays are given by shape, dtype and digest.
    seed : int or None
        Seed of the random numbers, where there are any.
    input_digest : str or None
        Digest of the input (of what was accumulated from it, for streams).
    time : str
        Time of creation, ISO 8601, UTC.
    """

    function: str
    version: str
    parameters: dict[str, Any]
    seed: int | None = None
    input_digest: str | None = None
    time: str = dataclasses.field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def record(
    function: str, parameters: Mapping[str, Any], *, seed: int | None = None, input_digest: str | None = None
) -> Provenance:
    """Make the provenance of a result that is being created now.

    Parameters
    ----------
    function : str
        Dotted name of the public function or class, e.g. ``"scan.sparse"``.
    parameters : Mapping[str, Any]
        Its parameters by name.
    seed : int, optional
        Seed of the random numbers.
    input_digest : str, optional
        Digest of the input, see `digest`.
    """
    from esteemcore import __version__

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Provenance(function, __version__, _plain(dict(parameters)), seed, input_digest, now)
