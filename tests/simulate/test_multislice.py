from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esteemcore import errors, simulate
from esteemcore.simulate.multislice import _kernels, scattering_matrix
from esteemcore.simulate.multislice.fourier import LANES, Transform


@given(n=st.integers(1, 200), width=st.integers(1, 3), seed=st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_the_transform_is_that_of_numpy(n: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, n, width * LANES)).astype(np.float32)
    plan = Transform(n)
    assert np.prod(plan.factors) == n
    real, imaginary, *_ = _kernels.transform(
        *(part.ravel().copy() for part in parts), *np.empty((2, parts[0].size), np.float32), plan.factors, plan.turns
    )
    expected = np.fft.fft(parts[0] + 1j * parts[1].astype(np.float64), axis=0)
    found = (real + 1j * imaginary).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.sqrt(n) * np.abs(expected).max())


def test_blocks_are_views_of_all_values(crystal: simulate.Specimen) -> None:
    matrix = scattering_matrix(crystal, 80, 4.0, 5.0, (2, 3))
    assert len(matrix.blocks) == 6
    assert sum(block.matrix.size for block in matrix.blocks) == matrix.values.size
    assert all(np.shares_memory(block.matrix, matrix.values) for block in matrix.blocks)
    for number, block in enumerate(matrix.blocks):
        for waves in (block.incoming, block.outgoing):
            assert (waves % (2, 3) == divmod(number, 3)).all()


def test_progress_rises_in_steps_and_a_cancel_is_soon_obeyed() -> None:
    thick = simulate.specimen("zeolite", thickness_nm=40)
    cancel, seen = threading.Event(), []

    def look(done: float) -> None:
        seen.append(done)
        if done > 0.1:
            cancel.set()

    with pytest.raises(errors.CancelledError):
        simulate.bank(thick, simulate.Beam(200, 14.25), progress=look, cancel=cancel)
    steps = np.diff(seen)
    assert 0 < steps.max() < 0.05
    assert seen[-1] < 0.2


def test_a_thread_that_never_rests_does_not_hold_it_up() -> None:
    # a thread of pure Python gives way every 5 ms only: work in thousands of small pieces would wait each time
    specimen = simulate.specimen("srtio3")
    simulate.bank(specimen, simulate.Beam(200, 10.0)).outside.sum()  # compiled
    calls: list[float] = []
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(200))

    busy = threading.Thread(target=spin)
    busy.start()
    try:
        simulate.bank(specimen, simulate.Beam(200, 10.5), progress=calls.append)
    finally:
        stop.set()
        busy.join()
    assert 0 < len(calls) < 200
