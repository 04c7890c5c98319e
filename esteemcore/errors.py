"""The one exception tree of Esteem.

``EsteemError``
 ├─ ``ParameterError`` (also a ``ValueError``): an argument is wrong; the message says what was given and expected
 ├─ ``CalibrationError``: a calibration is missing or impossible
 ├─ ``FormatError``: a file or byte string is damaged, unknown or not supported
 ├─ ``StreamError``: an acquisition or a stream cannot go on
 │   └─ ``ReducerError``: a reducer failed while the raw data stayed whole; carries the results of the others
 ├─ ``DependencyError`` (also an ``ImportError``): an optional library is absent; the message names the extra
 └─ ``CancelledError``: the caller's cancel event was set
"""

from esteemcore._core.errors import (
    CalibrationError,
    CancelledError,
    DependencyError,
    EsteemError,
    FormatError,
    ParameterError,
    ReducerError,
    StreamError,
)

__all__ = [
    "CalibrationError",
    "CancelledError",
    "DependencyError",
    "EsteemError",
    "FormatError",
    "ParameterError",
    "ReducerError",
    "StreamError",
]
