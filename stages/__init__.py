"""The pipeline's stages. A checkout always runs its own library, also in the copies that experiments run in."""

import os
import signal
import sys
from pathlib import Path

from stages.shared.start import RANK, refuse_other_python

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

# `python -m stages.NAME` begins: until `run` takes over, Ctrl-C ends it without a traceback
beginning = sys.argv[0] == "-m" and any(word.startswith("stages.") for word in sys.orig_argv)
if beginning:
    refuse_other_python()
    if RANK:
        os.environ["TQDM_DISABLE"] = "1"  # one process shows the progress of all
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
