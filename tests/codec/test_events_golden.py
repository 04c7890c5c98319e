"""Blocks of earlier versions still open, and today's are no larger."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import codec
from scripts import make_golden_codecs


@pytest.mark.parametrize("name", make_golden_codecs.CASES)
def test_golden_blocks(name) -> None:
    block = (make_golden_codecs.FOLDER / f"{name}.bin").read_bytes()
    truth = make_golden_codecs.CASES[name]()
    assert len(block) < 20_000
    if name.startswith("events"):
        back = codec.decode_events(block)
        assert back.dtype == truth.dtype
        np.testing.assert_array_equal(back.to_dense(), truth)
        assert len(codec.encode_events(truth)) <= 1.02 * len(block)
    else:
        np.testing.assert_array_equal(codec.decode_binary(block), truth)
        assert len(codec.encode_binary(truth)) <= 1.02 * len(block)
