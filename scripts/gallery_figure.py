"""The gallery: what each member of the family does to an input of ones, as an image."""

import argparse
import binascii
import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np

from scripts import family_page
from scripts.members import RECORDS
from scripts.members._panel import DRAWN_RATE, Panel

matplotlib.use("agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend comes first)

PANELS = [panel for record in RECORDS for panel in record.panels]
PICTURE = Path(__file__).parents[1] / "docs" / "gallery.png"


def key_of(panel: Panel) -> jax.Array:
    """A key of its own: a new panel leaves the others as they are."""
    return jax.random.key(binascii.crc32(panel.title.encode()))


def draw(path: Path) -> None:
    columns = 6
    rows = -(-len(PANELS) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(12, 2.2 * rows), dpi=110)
    for ax in axes.flat[len(PANELS) :]:
        ax.axis("off")
    for panel, ax in zip(PANELS, axes.flat, strict=False):
        y = np.asarray(panel.draw(key_of(panel)), np.float64)
        ax.imshow(y, cmap="cividis", interpolation="nearest")
        ax.set_title(panel.title, fontsize=9)
        ax.set_ylabel(panel.rows, fontsize=8)
        ax.set_xlabel(panel.columns, fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    title = f"An input of ones after each method, rate {DRAWN_RATE}; dark is small"
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/gallery", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="docs/gallery.png if left out")
    pages = parser.add_mutually_exclusive_group()
    pages.add_argument("--docs", action="store_true", help="write the tables of docs/family.md too")
    pages.add_argument("--check", action="store_true", help="change nothing; check those tables")
    given = parser.parse_args(argv)
    if given.file is not None and (given.docs or given.check):
        parser.error(f"got {given.file} and what concerns docs/; give one of them")
    if given.check:
        same = family_page.is_up_to_date()
        print(f"docs/family.md is {'up to date' if same else 'not what scripts/members says'}.")
        return 0 if same else 1
    if given.docs:
        family_page.write()
    draw(given.file or PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
