import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.scenes import PLACES_AND_WEATHERS  # placeholder
