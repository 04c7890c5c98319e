"""How fast a series is: frames, the disk, and the analysis behind them."""

from __future__ import annotations

from esteemcore.multiframe import AcquiredFrame


class Pace:
    """What frames of a run have taken so far."""

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._written: list[float] = []

    def add(self, frame: AcquiredFrame) -> None:
        """Take note of a frame."""
        self._begun.append(frame.time_s)
        self._written.append(frame.write_s)

    def summary(self, lag: int) -> str:
        """Return it in words, beginning with what a plan needs: the time that the disk takes for a frame.

        Parameters
        ----------
        lag : int
            Frames that are stored and not looked at yet.
        """
        if not self._written:
            return ""
        words = [f"Writing took {sum(self._written) / len(self._written):.2g} s per frame"]
        if len(self._begun) > 1:
            words.append(f"a frame began every {(self._begun[-1] - self._begun[0]) / (len(self._begun) - 1):.3g} s")
        if lag > 1:
            words.append(f"{lag} frames wait for the live results, safe on disk")
        return ", ".join(words)
