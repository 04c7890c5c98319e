"""``esteem swift``: which project is meant, how Nion Swift is started, what happens when it cannot be."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
from pathlib import Path

import pytest

from esteemcore import cli
from esteemcore.cli import swift
from esteemcore.errors import DependencyError, ParameterError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "one.nsproj"
    path.parent.mkdir()
    path.write_text('{"version": 3}')
    return path


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A launcher that writes down how it was started and ends with 7."""
    program = tmp_path / "launcher"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\nexit 7\n')
    program.chmod(0o755)
    monkeypatch.setattr(swift, "launcher", lambda platform, prefix: program)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.3.0")
    return program


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher of this test is a shell script")
def test_nion_swift_is_started_and_its_exit_code_returned(project, tool, tmp_path) -> None:
    assert cli.main(["swift", str(project.parent)]) == 7
    assert (tmp_path / "arguments").read_text().splitlines() == [sys.prefix, "esteem_sim.swift_app", str(project)]
    assert cli.main(["swift"]) == 7
    assert (tmp_path / "arguments").read_text().splitlines() == [sys.prefix, "nionui_app.nionswift"]


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher of this test is a shell script")
def test_a_signal_is_an_exit_code_as_shells_have_it(tool) -> None:
    tool.write_text("#!/bin/sh\nkill -TERM $$\n")
    assert cli.main(["swift"]) == 128 + 15


def test_a_project_is_found(project, monkeypatch) -> None:
    assert swift.find_project(project) == project
    assert swift.find_project(project.parent) == project
    monkeypatch.chdir(project.parent)
    assert swift.find_project(Path("one.nsproj")) == project


def test_a_project_is_not_guessed(project, tool, capsys) -> None:
    folder, empty = project.parent, project.parent / "empty"
    empty.mkdir()
    project.with_name("notes.txt").write_text("no project")
    (folder.parent / "letter.nsproj").write_text("Dear all")
    (folder.parent / "list.nsproj").write_text("[1, 2]")
    for path, words in (
        (folder.parent / "letter.nsproj", "letter.nsproj is no project of Nion Swift; its content is not JSON"),
        (folder.parent / "list.nsproj", "list.nsproj is no project of Nion Swift; it has no version"),
        (folder / "two.nsproj", "two.nsproj does not exist"),
        (folder / "notes.txt", "notes.txt is no project"),
        (empty, "holds no project"),
    ):
        with pytest.raises(ParameterError, match=words):
            swift.find_project(path)
        assert cli.main(["swift", str(path)]) == 2
        assert words in capsys.readouterr().err
    project.with_name("two.nsproj").write_text("{}")
    with pytest.raises(ParameterError, match=r"several projects \(one.nsproj, two.nsproj\); name one"):
        swift.find_project(folder)


def test_without_its_launcher_the_extra_is_named(tmp_path, tool, monkeypatch, capsys) -> None:
    monkeypatch.setattr(swift, "launcher", lambda platform, prefix: tmp_path / "nothing")
    with pytest.raises(DependencyError) as caught:
        swift.command(None)
    assert caught.value.extra == "app"

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert cli.main(["swift"]) == 2
    assert 'nionswift-tool is not installed; run: python -m pip install "nionswift-esteem[app]"' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("platform", "where"),
    [
        ("linux", "bin/NionSwiftLauncher/NionSwiftLauncher"),
        ("win32", "Scripts/NionSwiftLauncher/NionSwift.exe"),
        ("darwin", "bin/Nion Swift.app/Contents/MacOS/Nion Swift"),
    ],
)
def test_the_launcher_is_where_nionswift_tool_puts_it(platform, where) -> None:
    """As the list of its files says, where it is installed for this platform."""
    assert swift.launcher(platform, Path("prefix")) == Path("prefix") / where
    if platform != sys.platform:
        return
    try:
        files = importlib.metadata.files("nionswift-tool") or []
    except importlib.metadata.PackageNotFoundError:
        return
    installed = {Path(str(file.locate())).resolve() for file in files}
    assert swift.launcher(platform, Path(sys.exec_prefix)).resolve() in installed


def test_a_shared_python_is_found_by_the_launcher(monkeypatch) -> None:
    settings = {"LIBDIR": "/opt/python/lib", "Py_ENABLE_SHARED": 1}
    monkeypatch.setattr(sysconfig, "get_config_var", settings.get)
    monkeypatch.setattr(sys, "platform", "linux")
    assert swift.environment({"A": "1"}) == {"A": "1", "LD_LIBRARY_PATH": "/opt/python/lib"}
    assert swift.environment({"LD_LIBRARY_PATH": "/other"}) == {"LD_LIBRARY_PATH": "/opt/python/lib:/other"}
    settings["Py_ENABLE_SHARED"] = 0
    assert swift.environment({"A": "1"}) == {"A": "1"}
    settings["Py_ENABLE_SHARED"] = 1
    monkeypatch.setattr(sys, "platform", "darwin")
    assert swift.environment({"A": "1"}) == {"A": "1"}
