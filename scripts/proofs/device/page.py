"""The pages of results/device, made from the JSON files there: README.md, and one for each device.

    python -m scripts.proofs.device.page

writes them anew, without a device and without jax.
"""

from pathlib import Path
from typing import Any

from scripts.proofs.device.piece import PIECES, Piece
from scripts.proofs.device.store import FOLDER, file_name, stored
from scripts.proofs.report import table

BACKENDS = {"gpu": "a GPU", "tpu": "a TPU"}
HEAD = """\
# On a device

Made by `scripts/prove device`, which runs one piece after another on the GPU or TPU that is there
and stores each as it ends; typed again, it goes on with those that are left. "not run" means that
no such device has run that line: nothing is claimed about it.
"""
HOW = """\
## How to run it

    scripts/prove device                  # at most ten minutes; typed again, it goes on from there
    scripts/prove device --only core      # one piece, also if it is done already

It takes the first of `python3` and `.venv/bin/python` whose jax sees a device, or `JAXDROP_PYTHON`.
A piece that lacks a package says "not run: needs ...". Where nothing can be installed from an
index, bring the packages as wheels. On a machine that has an index,

    pip download --no-deps --only-binary=:all: --dest wheels NAME ...

(with `--python-version` and `--platform` of the other machine); then, beside the device,

    python3 -m pip install --no-deps --target packages wheels/*.whl
    PYTHONPATH=$PWD/packages scripts/prove device

`scripts/prove device --rehearse FOLDER` runs every piece, tiny and on the CPU, and stores what came
out in FOLDER; `tests/scripts/test_prove_device.py` does so in CI.
"""


def cell(piece: Piece, device: dict[str, Any] | None, backend: str) -> str:
    """Say in a few words what is known about a piece on a device."""
    outcome = device["pieces"].get(piece.name) if device else None
    if backend == "tpu" and not piece.tpu:
        return "not possible: a TPU belongs to one process"
    if outcome is None:
        return "not run"
    if outcome["state"] != "done":
        return f"{outcome['state']}: {outcome['why']}"
    checks = outcome["checks"]
    bad = sum(not row["holds"] for row in checks)
    if bad:
        return f"**{bad} of {len(checks)} do not hold**"
    return f"all {len(checks)} hold" if checks else "measured"


def readme(devices: list[dict[str, Any]]) -> str:
    """Return the page with a line for each piece and a column for each device."""
    columns: list[tuple[dict[str, Any] | None, str, str]] = [
        (d, d["backend"], f"[{d['device']}]({file_name(d['device'])}.md)") for d in devices
    ]
    seen = {d["backend"] for d in devices}
    columns += [(None, b, title) for b, title in BACKENDS.items() if b not in seen]
    rows = [[p.shows, p.name, *(cell(p, d, b) for d, b, _ in columns)] for p in PIECES]
    heads = ["what", "piece", *(title for *_, title in columns)]
    return "\n".join([HEAD, table(heads, rows), HOW])


def details(device: dict[str, Any]) -> str:
    """Return the page of one device: every claim, every table, and where each piece ran."""
    parts = [f"# {device['device']}\n", "Made by `scripts/prove device`.\n"]
    for piece in PIECES:
        parts.append(f"## {piece.name}: {piece.shows}\n")
        outcome = device["pieces"].get(piece.name)
        if outcome is None or outcome["state"] != "done":
            parts.append(cell(piece, device, device["backend"]) + "\n")
            continue
        if outcome["checks"]:
            rows = [
                [r["claim"], "yes" if r["holds"] else "**NO**", r["found"]]
                for r in outcome["checks"]
            ]
            parts.append(table(["claim", "holds", "found"], rows))
        for title, rows in outcome["tables"].items():
            heads = list(dict.fromkeys(name for row in rows for name in row))
            cells = [[row.get(name, "") for name in heads] for row in rows]
            parts += [f"{title}:\n", table(heads, cells)]
        where = ", ".join(f"{name} {value}" for name, value in outcome["where"].items() if value)
        parts.append(f"{outcome['seconds']} s; {where}\n")
    return "\n".join(parts)


def write(folder: Path = FOLDER) -> None:
    """Write README.md and a page for each device's JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    devices = stored(folder)
    (folder / "README.md").write_text(readme(devices))
    for device in devices:
        (folder / f"{file_name(device['device'])}.md").write_text(details(device))


if __name__ == "__main__":
    write()
