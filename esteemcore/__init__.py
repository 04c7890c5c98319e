"""Just-enough-data STEM: plan where every electron goes, follow it live, keep it small.

Each subpackage is imported when it is first used, so that ``import esteemcore`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "codec",
    "diffraction",
    "errors",
    "events",
    "fourd",
    "io",
    "lowrank",
    "multiframe",
    "optics",
    "register",
    "scan",
    "simulate",
    "spectral",
    "stream",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"esteemcore.{name}")
    raise AttributeError(f"module 'esteemcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
