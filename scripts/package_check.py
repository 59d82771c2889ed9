"""Build jaxdrop as it is released, install it where nothing else is, and use it there."""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import jaxdrop

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "package"
MOST = 1_000_000
"""Bytes of the largest file that an sdist may hold."""

WHERE = "import jaxdrop, sys; print(jaxdrop.__version__, jaxdrop.__file__.startswith(sys.prefix))"


def run(*command: object, folder: Path = ROOT) -> str:
    """Run a command in a folder, its errors shown as they come; return what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def make_venv(name: str) -> Path:
    """Make an empty environment; return its Python."""
    folder = OUT / name
    venv.create(folder, clear=True, with_pip=True)
    return folder / "bin" / "python"


def build() -> tuple[Path, Path]:
    """Build the sdist, and from it the wheel; return both."""
    tools, dist = make_venv("tools"), OUT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(tools, "-m", "pip", "install", "--quiet", "build")
    run(tools, "-m", "build", "--outdir", dist, ROOT)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, wheel


def wheel_faults(names: list[str]) -> list[str]:
    """What is in a wheel and should not be, or is not and should be."""
    here = re.compile(r"jaxdrop(-[^/]*\.dist-info)?/")
    strange = [f"the wheel has {name}" for name in names if not here.match(name)]
    needed = ("jaxdrop/__init__.py", "jaxdrop/py.typed")
    return strange + [f"the wheel lacks {name}" for name in needed if name not in names]


def sdist_faults(sizes: dict[str, int]) -> list[str]:
    """What is too large in an sdist, or is missing that its tests need; names without the top."""
    large = [f"the sdist has {name} of {n} bytes" for name, n in sizes.items() if n > MOST]
    needed = ("tests/conftest.py", "constraints.txt", "results/bench/core.json", "scripts/_env")
    return large + [f"the sdist lacks {name}" for name in needed if name not in sizes]


def contents(sdist: Path) -> dict[str, int]:
    with tarfile.open(sdist) as archive:
        files = [one for one in archive.getmembers() if one.isfile()]
    return {one.name.partition("/")[2]: one.size for one in files}


def examples() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/package", description=__doc__)
    parser.add_argument("--newest", action="store_true", help="not held back by constraints.txt")
    given = parser.parse_args(argv)
    OUT.mkdir(parents=True, exist_ok=True)
    sdist, wheel = build()
    with zipfile.ZipFile(wheel) as archive:
        faults = wheel_faults(archive.namelist())
    faults += sdist_faults(contents(sdist))
    python, elsewhere = make_venv("empty"), OUT / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    pins = [] if given.newest else ["-c", ROOT / "constraints.txt"]
    run(python, "-m", "pip", "install", "--quiet", *pins, wheel)
    found = run(python, "-I", "-c", WHERE, folder=elsewhere).split()
    if found != [jaxdrop.__version__, "True"]:
        faults.append(f"installed: {found}, expected version {jaxdrop.__version__}")
    for example in examples():
        run(python, "-I", "-c", example, folder=elsewhere)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{wheel.name}, {sdist.name} of {sdist.stat().st_size} bytes: {len(faults)} faults")
    print(f"{len(examples())} examples of the README ran")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
