"""`make` runs this where the folder was moved or renamed: what is in .venv names the place where it was installed."""

import re
import sys
from pathlib import Path
from venv import EnvBuilder

SHEBANG = r"#!(?:/bin/sh\n'''exec' )?\"?{}/bin/(python[0-9.]*)\"?(?: \"\$0\" \"\$@\"\n' ''')?\n"  # both of pip's


def main(environment: Path) -> None:
    """Let the scripts in an environment, its activation and its editable installs name where they are now."""
    stamp, new = environment / ".installed", environment.resolve()
    old = Path(stamp.read_text(encoding="utf-8").removesuffix("\n"))
    shebang = re.compile(SHEBANG.format(re.escape(str(old))).encode())
    for script in (new / "bin").iterdir():
        if script.is_file() and not script.is_symlink() and (found := shebang.match(content := script.read_bytes())):
            first = f"#!/bin/sh\n'''exec' \"{new}/bin/{found[1].decode()}\" \"$0\" \"$@\"\n' '''\n"
            script.write_bytes(first.encode() + content[found.end() :])
    for links in new.glob("lib/*/site-packages/*.pth"):
        text = links.read_text(encoding="utf-8")
        links.write_text(
            re.sub(rf"(?m)^{re.escape(str(old.parent))}(?=/)", lambda _: str(new.parent), text), encoding="utf-8"
        )
    builder = EnvBuilder()
    builder.setup_scripts(builder.ensure_directories(str(new)))  # those that activate it
    stamp.write_text(f"{new}\n", encoding="utf-8")
    print(f"This folder was {old.parent}: .venv names {new.parent} now")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
