"""What all tests share: where the development data are, and how slow machines are treated."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest


def share_compiled_functions(folder: Path, worker: str) -> None:
    """Let all processes of one run use the functions that one of them has compiled.

    Processes that store into one cache can leave it an index that names the other's code: numba reads the index, adds
    a line, writes it and then the code. So one test process at a time reads or writes there, and the code that it
    stores has other names than that of the programs that tests start, which know no lock. Where processes cannot wait
    for each other, each has a cache of its own.
    """
    try:
        import fcntl
    except ImportError:
        os.environ["NUMBA_CACHE_DIR"] = str(folder / worker)
        return
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    from numba.core import caching, config

    config.CACHE_DIR = str(folder)
    file = caching.IndexDataCacheFile
    name_of = file._data_name

    def alone(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def waits(*args: Any) -> Any:
            with (folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return method(*args)

        return waits

    file.save, file.load, file.flush = alone(file.save), alone(file.load), alone(file.flush)
    file._data_name = lambda self, number: f"tests-{name_of(self, number)}"


gc.set_threshold(20_000, 10, 10)

hypothesis.settings.register_profile(
    "esteem", deadline=None, max_examples=30, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("esteem")

if process := os.environ.get("PYTEST_XDIST_WORKER"):
    share_compiled_functions(Path(__file__).resolve().parents[1] / ".pytest_cache" / "numba", process)

LONGEST = ("docs", "gui", "spectral", "diffraction", "plugins", "multiframe", "register", "io", "codec", "cli")
"""Folders whose files take longest come first, so that no process is left alone with a long one at the end."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    folders = [Path(__file__).parent / name for name in LONGEST]

    @functools.cache
    def rank(path: Path) -> int:
        return next((n for n, folder in enumerate(folders) if folder in path.parents), len(folders))

    items.sort(key=lambda item: rank(item.path))


@pytest.fixture(scope="module", autouse=True)
def what_is_there_stays() -> None:
    """Let the collector of garbage look at nothing that was there before: modules, tests, what other files left.

    That is millions of objects, and to look at them again and again took most of the time of the tests of Nion Swift,
    which make many objects that refer to each other.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leave out fsync, which takes most of the time; `tests/io/test_durable.py` has a disk of its own for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with simulated sets of known truth and real files, beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the development data are not at {SHARED_DATA}")
    return SHARED_DATA
