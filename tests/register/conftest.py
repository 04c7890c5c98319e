"""The folder of these tests holds a simulated series that several of them use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
