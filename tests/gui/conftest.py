"""A virtual display for the tests of the real window, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import real_swift  # noqa: E402


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a virtual display; without what it needs the test is skipped, or fails if ESTEEM_REQUIRE_GUI is 1."""
    lacking = real_swift.missing()
    if lacking and os.environ.get("ESTEEM_REQUIRE_GUI") == "1":
        pytest.fail(f"ESTEEM_REQUIRE_GUI is set, but the real window {lacking}", pytrace=False)
    if lacking:
        pytest.skip(f"the real window {lacking}")
    with real_swift.display(tmp_path_factory.mktemp("display")) as name:
        yield name


@pytest.fixture
def swift(screen: str, tmp_path: Path) -> Iterator[Callable[..., AbstractContextManager[real_swift.Swift]]]:
    """Start Nion Swift with a driver of this folder; its pictures are kept in the folder ESTEEM_SCREENSHOTS, if set."""
    work = tmp_path / "swift"

    def start(driver: str, **settings: str) -> Any:
        return real_swift.swift(HERE / driver, work, screen, **settings)

    yield start
    kept = os.environ.get("ESTEEM_SCREENSHOTS")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        for path in work.glob("*.png"):
            shutil.copy(path, kept)
