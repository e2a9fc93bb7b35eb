"""Benchmarks: commands that measure speed, memory, recipes and other libraries, apart from the pipeline.

They import `stages` first, which puts this checkout's own src/ first on sys.path.
"""

import stages  # noqa: F401
