"""Storing in the real Nion Swift: compressed by menu, with and without loss, removed, restored, the same again."""

from __future__ import annotations

import re

import numpy as np

from esteemcore import io

RAW = 128 * 128 * 1024 * 4


def ratio(message: str) -> float:
    """Return how many times smaller the window says the file is."""
    found = re.search(r"([\d.]+) times smaller; read back and found whole", message)
    assert found is not None, message
    return float(found[1])


def test_compress_remove_and_restore(swift) -> None:
    with swift("store_driver.py") as running:
        found = running.result()
    assert found["suggested"].endswith("EELS of an interface.esteem.zip")

    bounded, coarse = (io.info(running.work / f"{name}.esteem") for name in ("bounded", "coarse"))
    for info, words in ((bounded, found["bounded"]), (coarse, found["coarse"])):
        (signal,) = info.signals
        (loss,) = signal.loss
        assert signal.lossy
        assert abs(ratio(words) - RAW / info.stored_bytes) < 0.06
        assert f"largest error {loss['largest_error_sigma']:.3g} σ, RMS {loss['rms_error_sigma']:.3g} σ" in words
    assert 0 < bounded.signals[0].loss[0]["largest_error_sigma"] <= 0.25 * (1 + 1e-6)
    used = coarse.signals[0].configuration
    assert (used["n_components"], used["blocks"]) == (5, [[0, 480, 16], [480, 640, 1], [640, 1024, 16]])
    exact = found["exact"]
    assert "no loss" in exact
    assert abs(ratio(exact) - RAW / found["stored_bytes"]) < 0.06
    assert ratio(found["coarse"]) > ratio(found["bounded"]) > ratio(exact) > 2

    assert found["removed"].startswith("1 data item was removed; Edit > Undo brings it back")
    assert (found["title"], found["shape"], found["differ"]) == ("EELS of an interface", [128, 128, 1024], 0)
    assert found["units"] == ["nm", "nm", "eV"]
    assert np.isclose(found["first_ev"], 100.0)
    assert found["windows"] == 1  # it came in a thread, and the window went on
    assert any(0 < percent < 100 for percent in found["while_importing"]), found["while_importing"]
    assert "Traceback" not in running.logs()
