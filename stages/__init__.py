"""The pipeline's stages. A checkout always runs its own library, also in the copies that queued experiments run in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
