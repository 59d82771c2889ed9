"""Look at the site in a headless browser: pictures, errors, elements wider than the page."""

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTHS = {"phone": 360, "tablet": 820, "desk": 1440}
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

WIDER = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  const scrolls = (e) => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX);
  for (const element of document.querySelectorAll("article *")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.right <= wide + 1) continue;
    let above = element.parentElement;
    while (above && above !== document.body && !scrolls(above)) above = above.parentElement;
    if (!above || above === document.body || above.getBoundingClientRect().right > wide + 1) {
      found.push(element.tagName.toLowerCase() + " of " + Math.round(box.right) + ": "
                 + element.textContent.trim().slice(0, 60));
    }
  }
  if (document.documentElement.scrollWidth > wide) found.push("the page itself");
  return found;
}"""

UNSORTED = """() => [...document.querySelectorAll("thead button")].filter((button) => {
  button.click();
  const i = button.closest("th").cellIndex, rows = [...button.closest("table").tBodies[0].rows];
  const values = rows.map((row) => row.cells[i].dataset.v).filter(Boolean).map(Number);
  return values.some((v, n) => v < values.slice(0, n).findLast((u) => !isNaN(u)));
}).map((button) => button.textContent)"""


def browser() -> str | None:
    """Return the path of a browser: JAXDROP_BROWSER, or one of Chromium's names."""
    return os.environ.get("JAXDROP_BROWSER") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine alone; yield its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def pages(site: Path) -> list[str]:
    """Every page but those of single names, of which one stands for all; they are made alike."""
    found = (path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    one_name = "api/names/jaxdrop.nnx.Dropout.html"
    own = (page for page in found if page[0] != "_")  # _static has templates of the theme
    return sorted(p for p in own if "api/names/" not in p or p == one_name)


def hear(page: Page) -> list[str]:
    """Return a list to which everything is added that the page has to complain about."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"not loaded: {request.url}"))
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    return said


def look(site: Path, folder: Path, names: list[str]) -> list[str]:
    """Take pictures of each page, at each width and once in the dark; return the faults found."""
    found = []
    with served(site) as root, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        for name in names:
            page = opened.new_page(color_scheme="light")
            said = hear(page)
            page.goto(f"{root}/{name}", wait_until="networkidle")
            picture = name.removesuffix(".html").replace("/", ".")
            for label, width in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": 900})
                wider = page.evaluate(WIDER)
                found += [f"{name}, wider than its {width} pixels: {element}" for element in wider]
                page.screenshot(
                    path=folder / f"{picture}-{label}.png", full_page=True, animations="disabled"
                )
            page.emulate_media(color_scheme="dark")
            page.screenshot(
                path=folder / f"{picture}-dark.png", full_page=True, animations="disabled"
            )
            columns = page.evaluate(UNSORTED)
            found += [f"{name}: a click does not sort by {column}" for column in columns]
            found += [f"{name}: {fault}" for fault in said]
            page.close()
        opened.close()
    return found


def main(site: Path, folder: Path) -> int:
    """Return 0 if nothing is wrong, 1 if something is, 69 if there is no browser."""
    if browser() is None:
        print(
            f"No browser is here: install one of {', '.join(BROWSERS)} (Debian: apt install "
            "chromium), or name one, JAXDROP_BROWSER=/path/to/chromium.",
            file=sys.stderr,
        )
        return 69
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = look(site, folder, pages(site))
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(list(folder.iterdir()))} pictures in {folder}, {len(found)} faults")
    return 1 if found else 0
