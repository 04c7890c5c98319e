"""The computations of Esteem: a plug-in has one file for each of them."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from nion.swift.model import Symbolic


@dataclasses.dataclass(frozen=True)
class Computation:
    """A computation that Nion Swift can run again whenever its input or a parameter changes.

    Attributes
    ----------
    processing_id : str
        Under this name projects store it; never to be changed.
    handler : callable
        Makes the handler, with ``execute_task(context)`` and ``commit()``, from Nion's computation.
    """

    processing_id: str
    handler: Callable[..., Any]


def load(package: str) -> None:
    """Register the ``COMPUTATION`` of every module in a plug-in's folder ``computations``.

    Parameters
    ----------
    package : str
        Name of the plug-in's package, ``__package__``.
    """
    folder = importlib.import_module(f"{package}.computations")
    for found in pkgutil.iter_modules(folder.__path__):
        computation = importlib.import_module(f"{folder.__name__}.{found.name}").COMPUTATION
        Symbolic.register_computation_type(computation.processing_id, computation.handler)
