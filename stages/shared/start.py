"""Who started this process, and when. stages/__init__.py imports this first: torch alone takes seconds to import, and
DVC may end meanwhile."""

import os
import time

PARENT = os.getppid()
MOMENT = time.monotonic()
