"""Closing Nion Swift while frames come: the beam goes off, the file is whole, the program ends."""

from __future__ import annotations

import json

import numpy as np

from esteemcore import io, scan


def test_quitting_while_acquiring_is_safe(swift) -> None:
    with swift("quit_driver.py") as running:
        before = running.result()
        assert before["is_running"], before
        assert not before["is_blanked"]
        assert 0 < before["acquired"] < 256 * 256
        running.close_window()
        running.wait_for_end(120)
        assert running.process.returncode == 0, running.logs()
    assert "Traceback" not in running.logs(), running.logs()

    states = [json.loads(line) for line in (running.work / "beam.jsonl").read_text().splitlines()]
    assert "end" in [state["reason"] for state in states]  # the safe state of the acquisition, not only of the program
    assert states[-1]["is_blanked"]
    assert not states[-1]["is_scanning"]

    (path,) = (running.work / "raw").iterdir()
    assert not io.verify(path)
    source = io.source(path)
    assert not source.dataset.notes
    assert before["acquired"] <= len(source) < 256 * 256
    index = np.concatenate([chunk.index for chunk in source.chunks()])
    assert np.array_equal(index, scan.shuffled((256, 256), seed=1).order[: len(index)])
