"""Build the site into out/site, and look at it; ``scripts/docs`` runs this."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from experiments._commands import report
from scripts.site import stage

ROOT = Path(__file__).parents[2]
SITE, WORK, PICTURES = (ROOT / "out" / name for name in ("site", "docs", "pictures"))


def build() -> int:
    """Build the site and the report of the stored results; not 0 if there was a warning."""
    source = stage.write(ROOT, WORK)
    shutil.rmtree(SITE, ignore_errors=True)
    options = ["-b", "html", "-E", "-W", "--keep-going", "-q", "-d", str(WORK / "read")]
    status = int(sphinx([*options, str(source), str(SITE)]))
    return status or report.main(["results", "--out", str(SITE / "report.html")])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/docs", description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="look at it in a browser, too")
    parser.add_argument("--fresh", action="store_true", help="forget what was executed")
    given = parser.parse_args(argv)
    if given.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    began = time.monotonic()
    status = build()
    if status:
        print("The site has faults (see above).", file=sys.stderr)
        return status
    print(f"{SITE / 'index.html'}, built in {time.monotonic() - began:.0f} s")
    if given.pictures:
        from scripts.site import pictures

        return pictures.main(SITE, PICTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
