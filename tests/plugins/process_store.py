"""The window for compressing, opened and used as tests need it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_swift import KINDS, Swift, calibrated, values

from nionswift_plugin.esteem_process import container_files, store_job, store_window
from nionswift_plugin.esteem_process.commands import compress_to_container


def spectra(kind: str = "spectrum image", dtype: Any = np.float32) -> Any:
    shape, descriptor, units = KINDS[kind]
    return calibrated(values(shape, dtype), descriptor, units)


def opened(app: Swift, *items: Any, path: Path | None = None) -> store_window.StoreWindow:
    app.select(*items)
    made = compress_to_container.open_window(app.window)
    assert made is not None
    if path is not None:
        made.path.value = str(path)
    return made


def compress(app: Swift, store: Any) -> str:
    store.store_button.on_clicked()
    app.until(lambda: store.is_idle.value)
    return str(store.message.value)


class Gate:
    """Holds the thread in the middle of its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        write = container_files.write

        def held(*args: Any, **kwargs: Any) -> None:
            self.reached.set()
            assert self.go.wait(60)
            write(*args, **kwargs)

        monkeypatch.setattr(store_job.container_files, "write", held)
