"""Studies: commands that take longer than the pipeline, and whose results are committed.

They import `stages` first, which puts this checkout's own src/ first on sys.path.
"""

import stages  # noqa: F401
