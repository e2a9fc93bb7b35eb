"""`python tests/tour.py`: run docs/tour.md, write what it printed into it and what it drew into docs/tour/."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs/tour.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)  # code, and what it prints
BETWEEN = "\0"


def blocks() -> list[tuple[str, str]]:
    """The code of every step, and what the page says that it prints."""
    return [(code, printed) for code, printed in BLOCK.findall(TOUR.read_text(encoding="utf-8"))]


def run_in(folder: Path, steps: int | None = None) -> list[str]:
    """Run all steps in one process, in a folder, with other training steps if given; returns what each printed."""
    code = f"print(end={BETWEEN!r})\n".join(code for code, _ in blocks())
    if steps:
        code, changed = re.subn(r"^STEPS = \d+", f"STEPS = {steps}", code, flags=re.MULTILINE)
        assert changed == 1
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split(BETWEEN)


def main() -> None:
    """Run it all and write the page."""
    folder = TOUR.with_suffix("")
    folder.mkdir(exist_ok=True)
    printed = iter(run_in(folder))
    text = BLOCK.sub(
        lambda found: f"```python\n{found[1]}```\n\n```text\n{next(printed)}```", TOUR.read_text(encoding="utf-8")
    )
    TOUR.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
