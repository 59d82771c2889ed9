"""Run the battery on jaxdrop's generator and on planted bad ones; write the report.

scripts/prng_quality                 everything: results/prng/report.json and report.md
scripts/prng_quality --quick         the part that the test suite runs; writes nothing
scripts/prng_quality --candidates    the battery on other mixes: results/prng/candidates.json
scripts/prng_quality --times         time mixes over a copy: results/prng/times.json
scripts/prng_quality --instructions  count H200 instructions: results/prng/instructions.json
scripts/prng_quality --tables        write report.md again: report.json, dieharder_*.txt
"""

import argparse
import datetime
import json
import pathlib
import platform
import sys
from typing import Any

import jax
import numpy as np
import scipy

from scripts.quality import battery, tables
from scripts.quality.candidates import PLANTED
from scripts.quality.generator import Mixed, Public
from scripts.quality.verdict import FALSE_ALARM, Finding, failures

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "results" / "prng"


def main() -> int:
    """Do what the command line asks for; return 1 if jaxdrop's generator fails."""
    parser = argparse.ArgumentParser(
        prog="prng_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group()
    for name in ("quick", "candidates", "times", "tables"):
        which.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args()
    if args.tables:
        report = json.loads((FOLDER / "report.json").read_text())
        _write_markdown(report)
        return 0
    if args.candidates:
        from scripts.quality import comparison

        comparison.test_all(FOLDER / "candidates.json", versions())
        return 0
    if args.times:
        from scripts.quality import comparison

        comparison.time_all(FOLDER / "times.json", versions())
        return 0
    findings = battery.run(Public(), battery.QUICK if args.quick else battery.FULL, sys.stderr)
    if args.quick:
        _print(findings)
        return 1 if failures(findings) else 0
    report = {
        "command": "scripts/prng_quality",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "false alarm of the whole battery": FALSE_ALARM,
        "findings": [f._asdict() for f in findings],
        "failures": [f._asdict() for f in failures(findings)],
        "planted": {name: battery.caught_by(Mixed(mix)) for name, mix in PLANTED.items()},
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    _write_markdown(report)
    _print(findings)
    return 1 if report["failures"] else 0


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "backend": jax.default_backend(),
        "machine": platform.machine(),
    }


def _print(findings: list[Finding]) -> None:
    for f in findings:
        print(f"{f.test:24s} {f.case:44s} {f.statistic:16.8g}  p = {f.p:.4g}")
    failed = failures(findings)
    print(f"{len(findings)} p-values, {len(failed)} below {FALSE_ALARM / len(findings):.2g}")


def _write_markdown(report: dict[str, Any]) -> None:
    bound = FALSE_ALARM / len(report["findings"])
    runs = [tables.dieharder(path) for path in sorted(FOLDER.glob("dieharder_*.txt"))]
    parts = [
        "# Quality of the generator: report",
        "Written by `scripts/prng_quality` (`--tables` writes it again from `report.json` and the "
        "`dieharder_*.txt` files). What the tests are: the docstrings in `scripts/quality/`. "
        "What follows from them: `docs/generator.md`.",
        ", ".join(f"{k} {v}" for k, v in report["versions"].items()) + f"; {report['date']}",
        "## The battery",
        f"{len(report['findings'])} p-values, {len(report['failures'])} below {bound:.2g} "
        f"(a false alarm of {FALSE_ALARM:g} for all of them together). A p-value is the "
        "probability that a perfect generator deviates at least as much, on either side.",
        tables.table(
            ("test", "case", "statistic", "p"),
            [
                (f["test"], f["case"], f"{f['statistic']:.8g}", f"{f['p']:.4g}")
                for f in report["findings"]
            ],
        ),
        "## Planted bad generators",
        "The quick sizes of the same tests (`scripts/quality/battery.py`) on generators that are "
        "bad on purpose (`scripts/quality/candidates.py`); listed are the tests that each fails.",
        tables.table(
            ("generator", "fails (smallest p)"),
            [
                (name, ", ".join(f"{test} ({p:.1g})" for test, p in caught.items()) or "nothing")
                for name, caught in report["planted"].items()
            ],
        ),
        "## Other mixes",
        "`scripts/prng_quality --candidates`, `--times`, `--instructions`; what the columns mean: "
        "`docs/generator.md`.",
        tables.candidates(FOLDER),
        "## dieharder",
        "The output as it came is in the files beside this one.",
        tables.table(
            ("file", "command", "complete", "p-values", "PASSED", "WEAK", "FAILED"),
            [
                (
                    f"`{r['file']}`",
                    "; ".join(f"`{c}`" for c in r["commands"]),
                    "yes" if r["complete"] else "no",
                    len(r["p_values"]),
                    *tables.count_by_assessment(r).values(),
                )
                for r in runs
            ],
        ),
    ]
    odd = [
        (f"`{r['file']}`", row["test"], row["ntup"], row["p"], row["assessment"])
        for r in runs
        for row in r["p_values"]
        if row["assessment"] != "PASSED"
    ]
    if odd:
        parts += [
            "Every p-value that was not PASSED:",
            tables.table(("file", "test", "ntup", "p", "assessment"), odd),
        ]
    (FOLDER / "report.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
