"""The folder of these tests holds a microscope that several of them use; its frames come at even times."""

import sys
import time
from pathlib import Path

import pytest

from esteemcore.multiframe import acquire

sys.path.insert(0, str(Path(__file__).parent))


class EvenClock:
    """A clock that goes on by as much at each look at it, however long the machine takes."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 0.25
        return self._seconds

    def time(self) -> float:
        return time.time() + self._seconds


@pytest.fixture(autouse=True)
def frames_at_even_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "time", EvenClock())
