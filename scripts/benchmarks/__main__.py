"""scripts/bench [SUITE] [options]: run a suite, print its table, store it as JSON."""

import dataclasses
import importlib
import json
import os
import pathlib
import platform
import sys

import jax
import tyro
from rich.console import Console

from scripts.proofs.report import versions

SUITES = (
    *("core", "forms", "family", "training", "mc", "compile", "model", "attention", "removal"),
    "imports",
)


@dataclasses.dataclass(frozen=True)
class Output:
    out: pathlib.Path | None = None
    """File for the JSON; by default none is written."""


def main(argv: list[str]) -> int:
    suite = argv.pop(0) if argv and not argv[0].startswith("-") else SUITES[0]
    if suite not in SUITES:
        print(f"got suite {suite!r}, expected one of {', '.join(SUITES)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"scripts.benchmarks.{suite}")
    output, rest = tyro.cli(Output, args=argv, return_unknown_args=True, add_help=False)
    config = tyro.cli(
        module.Config, args=rest, prog=f"scripts/bench {suite} [--out FILE]",
        description=module.__doc__,
    )  # fmt: skip
    if output.out is not None:
        output.out.parent.mkdir(parents=True, exist_ok=True)
        output.out.touch()
    console = Console()
    report = {
        "suite": suite,
        "config": dataclasses.asdict(config),
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions("jax", "flax", "dm-haiku", "equinox"),
        "cases": module.run(config, console),
    }
    if output.out is not None:
        output.out.write_text(json.dumps(report, indent=1) + "\n")
        console.print(f"stored in {output.out}")
    return int(hasattr(module, "failed") and module.failed(report["cases"]))


def processor() -> str:
    """The processor's name as Linux gives it, else the architecture."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
