"""The one alias for arrays of numpy, whose shapes and types docstrings say."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
