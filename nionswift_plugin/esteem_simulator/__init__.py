"""The simulated STEM of Esteem as a plug-in of Nion Swift: it registers `esteem_sim` and nothing else."""

from __future__ import annotations

from esteem_sim import Configuration

_running: list[Configuration] = []


def configuration() -> Configuration | None:
    """Return the registered simulator; None where Swift has not started it."""
    return _running[0] if _running else None


def run() -> None:
    """Register the simulator; Nion Swift calls this after all plug-ins are imported."""
    if not _running:
        _running.append(Configuration())
        _running[0].run()


def stop() -> None:
    """Undo `run`."""
    while _running:
        _running.pop().stop()
