"""How much is tried: little in each run of CI, much by `scripts/test --thorough`, for a night."""

import os
from typing import Final

THOROUGH: Final = bool(os.environ.get("SHOPSET_THOROUGH"))
