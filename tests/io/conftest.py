from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # series that several of these tests use
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"


@pytest.fixture
def real():
    """Return the path of a file from a real instrument."""

    def find(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"the files from instruments are not beside the repository ({REAL.name}/{name})")
        return path

    return find


@pytest.fixture
def unzipped(real, tmp_path):
    """Return a member of a zipped file from a real instrument, and what lies beside it."""

    def unzip(archive: str, member: str) -> Path:
        with zipfile.ZipFile(real(archive)) as file:
            stem = member.rsplit(".", 1)[0]
            file.extractall(tmp_path, [n for n in file.namelist() if n.startswith(stem + ".")])
        return tmp_path / member

    return unzip


@pytest.fixture
def rng():
    return np.random.default_rng(20)
