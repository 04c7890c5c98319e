"""The documentation is true: its Python runs, its commands exist, its links and pictures are there."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from esteemcore import cli, io, stream

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "README.md"])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return (first line, text) of the blocks of a page in a language."""
    text = page.read_text(encoding="utf-8")
    return [(text[: m.start()].count("\n") + 1, m[2]) for m in BLOCK.finditer(text) if m[1] == language]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch) -> None:
    """In order, in one namespace, in a folder that holds a container called scan.esteem where the page needs one."""
    monkeypatch.chdir(tmp_path)
    if page.name == "format.md":
        spec = stream.Spec((12, 10), (16, 20), np.uint8, packed=True)
        with io.Writer("scan.esteem", spec) as writer:
            writer.append(stream.Chunk(np.arange(120), np.ones((120, 16, 3), np.uint8)))
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, str(page), "exec"), namespace)


COMMANDS = [
    (page, line.removeprefix("python -m esteemcore ").removeprefix("esteem "))
    for page in PAGES
    for _, text in blocks(page, "sh")
    for line in text.splitlines()
    if line.startswith(("esteem ", "python -m esteemcore "))
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{name(page)}: {line}" for page, line in COMMANDS])
def test_the_commands_of_a_page_exist(page, line) -> None:
    command, *arguments = shlex.split(line)
    assert command in cli.COMMANDS
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"esteemcore.cli.{command}").add_arguments(parser)
    parser.parse_args(arguments)


def test_the_command_line_page_names_every_command_and_option() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    for command in cli.COMMANDS:
        assert f"## esteem {command}" in page
        parser = argparse.ArgumentParser()
        importlib.import_module(f"esteemcore.cli.{command}").add_arguments(parser)
        for option in re.findall(r"--[a-z-]+", parser.format_help()):
            assert option == "--help" or f"`{option}" in page, option


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name(page)} links to {target}"


def test_pictures_are_used_and_small() -> None:
    found = sorted((ROOT / "docs" / "pictures").glob("*.png"))
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert found
    assert sum(picture.stat().st_size for picture in found) < 2.5e6
    for picture in found:
        assert picture.stat().st_size < 3e5
        assert f"pictures/{picture.name}" in text
