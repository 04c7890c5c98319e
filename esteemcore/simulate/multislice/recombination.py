"""From the scattering matrix to the diffraction patterns of probes at all positions of a grid."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.simulate.beam import Beam
from esteemcore.simulate.multislice import _kernels
from esteemcore.simulate.multislice.fourier import Transform
from esteemcore.simulate.multislice.scattering import ScatteringMatrix, waves_at_once


def recombine(
    matrix: ScatteringMatrix,
    beam: Beam,
    shape: tuple[int, int],
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    r"""Return the intensity (y, x, n) for probes on a grid over one cell, and the waves (n, 2).

    .. math:: \psi(k'; r) = \sum_g A(g + \kappa) S(g + \kappa, k') e^{-2 \pi i g r}

    is a Fourier series in r (the factor exp(-2 pi i kappa r) has no intensity), summed by fast Fourier transforms.

    Parameters
    ----------
    matrix : ScatteringMatrix
    beam : Beam
        Of the energy of the matrix.
    shape : (int, int)
        Rows and columns of the grid.
    progress, cancel
        See `esteemcore._core.progress.Progress`.
    """
    edge = math.sqrt(matrix.step_per_nm[0] * matrix.step_per_nm[1])
    incoming = np.concatenate([block.incoming for block in matrix.blocks])
    amplitude = beam.amplitude(incoming[:, 0] * matrix.step_per_nm[0], incoming[:, 1] * matrix.step_per_nm[1], edge)
    amplitude = (amplitude / math.sqrt(float(np.sum(np.abs(amplitude) ** 2)))).astype(np.complex64)
    orders = incoming // matrix.tiles % shape
    waves = np.concatenate([block.outgoing for block in matrix.blocks])
    first_of, last_of, cells = (
        np.cumsum([0, *sizes])
        for sizes in zip(
            *((len(block.incoming), len(block.outgoing), block.matrix.size) for block in matrix.blocks), strict=True
        )
    )
    intensity = np.empty((shape[0] * shape[1], len(waves)), np.float32)
    steps = Progress(len(waves), progress, cancel)
    at_once = waves_at_once(shape[0] * shape[1])
    rows, columns = (Transform(n) for n in shape)
    for at in range(0, len(waves), at_once):
        to = min(at + at_once, len(waves))
        _kernels.recombine(
            at, to, shape, orders, amplitude, first_of, last_of, cells, matrix.values, (rows.factors, rows.turns),
            (columns.factors, columns.turns), intensity,
        )  # fmt: skip
        steps.step(to - at)
    return intensity.reshape(*shape, -1), waves
