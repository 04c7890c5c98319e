"""Ours beside each installed peer, in one run: ``python -m benchmarks.<topic>`` prints a table and writes JSON.

Everything is measured on one thread, so the thread pools are closed before anything else is imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"
