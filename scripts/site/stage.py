"""Put the sources of the site together: docs/, and pages made of other files of the project."""

import os
import re
import shutil
from pathlib import Path

from scripts.site import experiments_page, reference

COPIED = {  # page of the site -> file of the repository
    "about_experiments": "experiments/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "core": "jaxdrop/_core/README.md",
    "reports/device": "results/device/README.md",
    "reports/kill_and_resume": "results/kill_and_resume/report.md",
    "reports/generator": "results/prng/report.md",
    "reports/peers": "results/prove/peers.md",
    "reports/gpu": "results/prove/gpu.md",
    "reports/gpu-newest": "results/prove/gpu-newest.md",
    "reports/tpu": "results/prove/tpu.md",
    "reports/tpu-newest": "results/prove/tpu-newest.md",
}
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def pages(root: Path) -> dict[str, str]:
    """The text of every page that has one, by its path on the site without the suffix."""
    docs = root / "docs"
    sources = {
        path.relative_to(docs).with_suffix("").as_posix(): path.relative_to(root)
        for path in sorted(docs.rglob("*.md"))
    } | {page: Path(file) for page, file in COPIED.items()}
    texts = {
        page: with_links((root / file).read_text(encoding="utf-8"), page, file, sources, root)
        for page, file in sources.items()
    }
    texts["experiments"] = experiments_page.page(root)
    texts["api/index"] = reference.index()
    for module in reference.ABOUT:
        texts[f"api/{module}"] = reference.page(module)
    further = sorted({*texts} - listed(texts) - {"index"})
    texts["index"] = texts["index"].replace("further_pages\n", "".join(f"{p}\n" for p in further))
    return texts


def listed(texts: dict[str, str]) -> set[str]:
    """The pages that are in a list of contents."""
    found = set()
    for page, text in texts.items():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            names = [line for line in block.splitlines() if line and line[0] != ":"]
            folder = Path(page).parent
            found |= {(folder / name.removesuffix(".md")).as_posix() for name in names}
    return found


def with_links(text: str, page: str, file: Path, sources: dict[str, Path], root: Path) -> str:
    """Return the text of a file with its links leading from where it is on the site.

    A link to a file that is a page leads to that page, any other to the file itself: beside the
    pages lie the folders of the repository.
    """
    page_of = {source.as_posix(): name for name, source in sources.items()}

    def moved(link: re.Match[str]) -> str:
        target = os.path.normpath(file.parent / link[1])
        if not (root / target).is_file():
            return link[1]  # Sphinx says what leads nowhere
        if target in page_of:
            target = f"docs/{page_of[target]}.md"
        return os.path.relpath(target, Path("docs", page).parent)

    return LINK.sub(moved, text)


def copy_linked(root: Path, folder: Path, texts: dict[str, str]) -> None:
    """Put the files that pages link to beside the pages, where the links lead."""
    for page, text in texts.items():
        for link in LINK.findall(text):
            target = os.path.normpath(Path("docs", page).parent / link)
            if not target.startswith("docs/") and (root / target).is_file():
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / target, folder / target)


def write(root: Path, folder: Path) -> Path:
    """Write the sources into a folder, where Sphinx finds them; return that of the pages.

    What is there already and is the same is left alone; what is no longer a source is removed.
    """
    site = folder / "docs"
    site.mkdir(parents=True, exist_ok=True)
    texts = pages(root)
    copy_linked(root, folder, texts)
    wanted = {f"{page}.md": text.encode() for page, text in texts.items()}
    for path in (root / "docs").rglob("*"):
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            wanted[path.relative_to(root / "docs").as_posix()] = path.read_bytes()
    for old in site.rglob("*"):
        if old.is_file() and old.relative_to(site).as_posix() not in wanted:
            old.unlink()
    for name, content in wanted.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    return site
