"""Run every public call once with jaxdrop's annotations enforced; a program, for its own process.

python tests/annotated_calls.py
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import beartype
import jax
from jaxtyping import install_import_hook


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enforce the annotations of a function; beartype knows Self in classes it decorates only."""
    if function.__qualname__.endswith("TrainState.__init__"):
        return function  # a state may hold shapes or shardings where its arrays stand
    hints = getattr(function, "__annotations__", {})
    if hints.get("return") is Self:
        del hints["return"]
    return beartype.beartype(function)


def main() -> int:
    tests = sys.modules["tests"] = types.ModuleType("tests")  # a library brings one of this name
    tests.__path__ = [str(Path(__file__).parent)]
    with install_import_hook("jaxdrop", "annotated_calls.checked"):
        from tests.test_bad_input_table import CALLS, RUN
    total, untrue = 0, 0
    for name, call in CALLS.items():
        total += 1
        try:
            if name.startswith(RUN):
                call.run(**call.valid)
            else:  # nothing is compiled
                jax.make_jaxpr(lambda: jax.tree.leaves(call.run(**call.valid)) and None)()  # noqa: B023
        except Exception as error:
            untrue += 1
            print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:800]}")
    print(f"{total} calls, {untrue} of them against an annotation")
    return untrue > 0


if __name__ == "__main__":
    sys.exit(main())
