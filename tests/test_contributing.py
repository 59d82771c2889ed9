"""A member is added as CONTRIBUTING.md says: the files it lists, and nothing else by hand.

``tests/new_member`` holds the files of such a member. They are put into a copy of the repository,
where the tests that are made from the records are run on it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("jaxdrop", "scripts", "tests", "docs")
NEW = Path(__file__).parent / "new_member"
WRITTEN = {
    "jaxdrop/_functional/row_dropout.py": "function.py",
    "jaxdrop/linen/_row_dropout.py": "linen.py",
    "jaxdrop/nnx/_row_dropout.py": "nnx.py",
    "scripts/members/row_dropout.py": "record.py",
    "tests/functional/test_row_dropout.py": "own_test.py",
}
ADDED_LINES = {
    "jaxdrop/__init__.py": "from jaxdrop._functional.row_dropout import row_dropout as row_dropout",
    "jaxdrop/linen/__init__.py": "from jaxdrop.linen._row_dropout import RowDropout as RowDropout",
    "jaxdrop/nnx/__init__.py": "from jaxdrop.nnx._row_dropout import RowDropout as RowDropout",
    "CHANGELOG.md": "- `jaxdrop.row_dropout`, and its layers: the example of CONTRIBUTING.md.",
}
SUITE = (
    *(f"tests/functional/test_shared_{part}.py" for part in ("edges", "gradient", "law")),
    *("tests/functional/test_shared_transforms.py", "tests/functional/test_gallery.py"),
    *("tests/functional/test_rate_one.py", "tests/functional/test_eager.py"),
    *("tests/core/test_modes.py", "tests/core/test_varying.py"),
    *("tests/functional/test_row_dropout.py", "tests/flax/test_modules.py"),
    *("tests/flax/test_module_modes.py", "tests/surgery/test_every_layer.py"),
    *("tests/scripts/test_members.py", "tests/test_layers.py", "tests/test_bad_input_table.py"),
)
# What names the member, and what looks over all of them.
ABOUT_IT = "row_dropout or RowDropout or every_record or every_public or every_nnx or tables"

GALLERY = """
from scripts import gallery_figure
assert gallery_figure.main(["--check"]) == 1
assert gallery_figure.main(["--docs"]) == 0
"""


def add_line(path: Path, line: str) -> None:
    """In the order of the alphabet among the lines that begin like it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    begin = line.split("_row_dropout")[0].split(".row_dropout")[0]
    after = [n for n, there in enumerate(lines) if there.startswith(begin) and there < line]
    lines.insert(after[-1] + 1, line + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def with_the_member(folder: Path) -> Path:
    """Copy the repository and add the member."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    for name, source in WRITTEN.items():
        shutil.copy(NEW / source, folder / name)
    for name, line in ADDED_LINES.items():
        add_line(folder / name, line)
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *arguments)


@pytest.mark.slow
def test_the_list_names_the_files_of_the_example() -> None:
    """At most nine; ``NAME`` and ``Name`` stand for the member."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. `([^`]+)`", text, re.MULTILINE)
    files = {name.replace("NAME", "row_dropout") for name in listed}
    assert files == WRITTEN.keys() | ADDED_LINES.keys()
    assert len(listed) == len(files) <= 9


@pytest.mark.slow
def test_a_member_that_is_added_as_the_page_says_passes(tmp_path: Path) -> None:
    folder = with_the_member(tmp_path)
    modules = [name for name in (*WRITTEN, *ADDED_LINES) if name.endswith(".py")]
    style = python(folder, "-m", "ruff", "check", "--no-cache", *modules)
    assert style.returncode == 0, style.stdout
    gallery = python(folder, "-c", GALLERY)
    assert gallery.returncode == 0, gallery.stderr
    done = run_tests(folder, *SUITE, "-k", ABOUT_IT, "-rp")
    assert done.returncode == 0, done.stdout[-4000:]
    page = (folder / "docs" / "family.md").read_text(encoding="utf-8")
    assert "| row dropout | none | `row_dropout` | `RowDropout` | a row | yes | no |" in page
    passed = re.findall(r"^PASSED (.*row_?dropout.*)", done.stdout, re.MULTILINE | re.IGNORECASE)
    of_files = {name: sum(test.startswith(f"{name}::") for test in passed) for name in SUITE}
    assert all(of_files.values()), of_files  # no file passes for having nothing to say


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "broken", "said"),
    [
        (
            "mesh_axes=mesh_axes)",
            "mesh_axes=mesh_axes) * (1 - rate)  # forgets to scale",
            "a value outside of the support",
        ),
        ("broadcast_dims=(-1,)", "broadcast_dims=(-2,)", "were decided differently"),
    ],
    ids=["unscaled", "columns"],
)
def test_a_broken_member_is_found(tmp_path: Path, line: str, broken: str, said: str) -> None:
    folder = with_the_member(tmp_path)
    function = folder / "jaxdrop" / "_functional" / "row_dropout.py"
    text = function.read_text(encoding="utf-8")
    assert text.count(line) == 1
    function.write_text(text.replace(line, broken), encoding="utf-8")
    done = run_tests(folder, "tests/functional/test_shared_law.py", "-k", "row_dropout")
    assert done.returncode == 1 and said in done.stdout, done.stdout[-4000:]
