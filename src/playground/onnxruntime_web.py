"""ONNX Runtime for browsers: one version of the npm package onnxruntime-web, in the environment beside pip's packages.

`python -m playground.onnxruntime_web` installs it, a step of `make playground`; nothing needs the network afterwards.
"""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from diffusion.files import whole_file

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
FOLDER = Path(sys.prefix) / "share" / f"onnxruntime-web-{VERSION}"


class Runtime(NamedTuple):
    """What a page needs of the package: a JavaScript module, and the WebAssembly that it runs."""

    script: str
    wasm: bytes


def installed() -> Runtime:
    """The files of the installed package. Raises ValueError if they are missing."""
    missing = [name for name in (SCRIPT, WASM) if not (FOLDER / name).is_file()]
    if missing:
        raise ValueError(f"{FOLDER / missing[0]}: no such file (python -m playground.onnxruntime_web installs it)")
    return Runtime((FOLDER / SCRIPT).read_text(encoding="utf-8"), (FOLDER / WASM).read_bytes())


def install() -> None:
    """Let npm fetch the package, and keep the two files. Raises ValueError if npm fails, or brings other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        package = _packed(Path(folder))
        found = f"sha512-{base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()}"
        if found != INTEGRITY:
            raise ValueError(f"onnxruntime-web {VERSION}: npm brought {found} (expected {INTEGRITY})")
        with tarfile.open(package) as archive:
            for name in (SCRIPT, WASM):
                content = archive.extractfile(f"package/dist/{name}")
                assert content is not None
                with whole_file(FOLDER / name) as unfinished:
                    unfinished.write_bytes(content.read())


def _packed(folder: Path) -> Path:
    """The package as npm hands it out, in this folder."""
    command = ["npm", "pack", f"onnxruntime-web@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ValueError(
            "npm: no such command; it fetches onnxruntime-web (Debian, Ubuntu: apt install npm)"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"npm pack onnxruntime-web@{VERSION}: {error.stderr.strip()[-300:]}") from error
    return folder / f"onnxruntime-web-{VERSION}.tgz"


if __name__ == "__main__":
    try:
        installed()
    except ValueError:
        try:
            install()
        except (ValueError, OSError) as error:
            sys.exit(f"error: {' '.join(str(error).split())}")
