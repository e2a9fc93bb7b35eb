"""Stage `report`: a stub."""

from pathlib import Path

from diffusion.files import write_text
from stages.params.params import Params
from stages.shared.command import run


def main(params: Params, *, reports: Path) -> None:
    """Stub."""
    html = (Path(__file__).parents[1] / "src/report/templates/page.html.j2").read_text()
    write_text(reports / "index.html", html)
    write_text(reports / "README.md", f"{params.seed}")
    write_text(reports / "figures" / "index" / "loss.png.txt", "a")


if __name__ == "__main__":
    run(main)
