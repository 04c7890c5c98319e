"""How all benchmarks measure and report."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def best(work: Callable[[], Any], repeats: int = 5) -> tuple[float, float]:
    """Return the least CPU time and wall time, in s, of several calls."""
    cpu, wall = float("inf"), float("inf")
    for _ in range(repeats):
        c, w = time.process_time(), time.perf_counter()
        work()
        cpu, wall = min(cpu, time.process_time() - c), min(wall, time.perf_counter() - w)
    return cpu, wall


def report(topic: str, rows: list[dict[str, Any]], output: Path | None) -> None:
    """Print rows as a table and write them as JSON with the machine they were measured on."""
    head = list(rows[0])
    widths = [max(len(key), *(len(str(row.get(key, ""))) for row in rows)) for key in head]
    print("  ".join(key.ljust(width) for key, width in zip(head, widths, strict=True)))
    for row in rows:
        print("  ".join(str(row.get(key, "")).ljust(width) for key, width in zip(head, widths, strict=True)))
    if output is not None:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        output.write_text(json.dumps({"topic": topic, "machine": machine, "rows": rows}, indent=1) + "\n")
