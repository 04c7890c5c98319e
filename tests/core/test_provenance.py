"""The digest tells different data apart and equal data together; the record can be written as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import pathlib
import subprocess
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given

import esteemcore
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.errors import ParameterError

numbers = hnp.arrays(
    hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes(sizes=(32, 64)),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(array=numbers)
def test_the_digest_does_not_depend_on_how_the_memory_is_laid_out(array) -> None:
    expected = digest(array)
    assert len(expected) == 32
    assert digest(array.astype(array.dtype.newbyteorder(">"))) == expected
    assert digest(array.astype(array.dtype.newbyteorder("<"))) == expected
    assert digest(np.asfortranarray(array).reshape(array.shape)) == expected
    assert digest(np.repeat(array.reshape(-1), 2)[::2].reshape(array.shape)) == expected


def test_the_digest_is_the_same_on_every_machine() -> None:
    assert digest(np.arange(6, dtype=np.int16).reshape(2, 3)) == "d90d6ed402161a2133dea3db29715569"
    assert digest(np.array([0.5, -1.0])) == "63215735da9de4a69b6a486316a785e0"


def test_the_digest_tells_apart() -> None:
    base = np.arange(6, dtype=np.int16)
    flipped = base.copy()
    flipped[3] ^= 1
    negative_zero = np.array([-0.0])
    different = [
        (base,),
        (flipped,),
        (base.astype(np.uint16),),
        (base.astype(np.int32),),
        (base.reshape(2, 3),),
        (base.reshape(3, 2),),
        (base[::-1],),
        (base, base),
        (base[:3], base[3:]),
        (base[3:], base[:3]),
        (base[:2], base[2:]),
        (base, base[:0]),
        (base[:1],),
        (base[0],),
        (np.array([0.0]),),
        (negative_zero,),
        (),
    ]
    assert len({digest(*arrays) for arrays in different}) == len(different)


def test_arrays_of_objects_have_no_digest() -> None:
    with pytest.raises(ParameterError, match="dtype object has no digest"):
        digest(np.array([{}, None]))


@dataclasses.dataclass(frozen=True)
class Lens:
    c30_nm: float
    names: tuple[str, ...]


def test_the_record_is_strict_json_whatever_the_parameters() -> None:
    parameters = {
        "mask": np.eye(64, dtype=bool),
        "small": np.array([[1.5, math.nan]]),
        "words": np.array(["bf", "adf"]),
        "objects": np.array([1, "a", None, np.arange(100)], object),
        "scalar": np.float32(0.5),
        "long": np.longdouble(0.25),
        "flag": np.bool_(True),
        "count": np.uint64(2**64 - 1),
        "angle": math.inf,
        "when": np.datetime64("2024-05-01"),
        "complex": 1 + 2j,
        "lens": Lens(1e6, ("C30",)),
        "dtype": np.dtype(np.uint8),
        "path": pathlib.PurePosixPath("a/b"),
        "nested": {1: [None, (True, 2)]},
        "set": {"b", "a"},
    }
    entry = record("scan.sparse", parameters, seed=3, input_digest=digest(np.zeros(2)))
    plain = json.loads(json.dumps(entry.as_dict(), allow_nan=False))
    assert plain == entry.as_dict()
    assert plain["function"] == "scan.sparse"
    assert plain["version"] == esteemcore.__version__
    assert plain["seed"] == 3
    assert plain["input_digest"] == digest(np.zeros(2))
    assert plain["parameters"] == {
        "mask": {"shape": [64, 64], "dtype": "|b1", "digest": digest(np.eye(64, dtype=bool))},
        "small": [[1.5, "nan"]],
        "words": ["bf", "adf"],
        "objects": [1, "a", None, {"shape": [100], "dtype": "<i8", "digest": digest(np.arange(100))}],
        "scalar": 0.5,
        "long": 0.25,
        "flag": True,
        "count": 2**64 - 1,
        "angle": "inf",
        "when": repr(np.datetime64("2024-05-01")),
        "complex": "(1+2j)",
        "lens": {"c30_nm": 1e6, "names": ["C30"]},
        "dtype": "dtype('uint8')",
        "path": "PurePosixPath('a/b')",
        "nested": {"1": [None, [True, 2]]},
        "set": ["a", "b"],
    }


def test_the_time_is_utc_now_and_not_part_of_equality() -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    entry = record("f", {})
    time = datetime.datetime.fromisoformat(entry.time)
    assert time.utcoffset() == datetime.timedelta(0)
    assert before <= time <= datetime.datetime.now(datetime.UTC)
    assert entry == dataclasses.replace(entry, time="2001-01-01T00:00:00+00:00")
    assert entry != dataclasses.replace(entry, seed=1)
    assert entry == Provenance("f", esteemcore.__version__, {})


def test_the_record_of_a_set_does_not_depend_on_the_run() -> None:
    program = "from esteemcore._core.provenance import record; print(record('f', {'s': set('abcdefgh')}).parameters)"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {"{'s': ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']}\n"}
