"""Nion's progress of a synchronized acquisition, where frames are no float32."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

_WORDS = "Data stream progress should be 1.0"


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is anything else."""
        return not str(record.msg).startswith(_WORDS)


@contextlib.contextmanager
def in_other_bytes() -> Iterator[None]:
    """Keep Nion from warning that not all has come, when it has.

    It reckons the bytes to come as if each camera gave float32, and compares them with those that came; packed bits
    and counts are fewer. Who takes the frames counts them, and misses none unseen.
    """
    only = _Filter()
    root = logging.getLogger()
    root.addFilter(only)
    try:
        yield
    finally:
        root.removeFilter(only)
