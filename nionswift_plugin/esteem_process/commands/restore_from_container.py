"""Bring the data items of a container into the project."""

from __future__ import annotations

from typing import Any

from nionswift_plugin.esteem_scan.menu import Command

TITLE = "Restore from Container..."
FILTER = "Esteem containers (*.esteem.zip *.zip zarr.json);;All Files (*.*)"


def _restore(window: Any) -> None:
    folder = window.ui.get_persistent_string("import_directory", "")
    paths, _, folder = window.get_file_paths_dialog("Restore from Container", folder, FILTER)
    if paths:
        window.ui.set_persistent_string("import_directory", folder)
        window.receive_files(paths)


COMMAND = Command(TITLE, _restore)
