"""scripts/audit MODULE:FACTORY: ``jaxdrop.surgery.audit`` of a model, from the command line."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
from flax import linen as nn
from flax import nnx

from jaxdrop.surgery import audit

USAGE = (
    "scripts/audit MODULE:FACTORY [--timed], such as "
    "scripts/audit experiments._networks.audits:char_lm"
)
RETURNS = (
    "(model, inputs) or (model, inputs, options), inputs a tuple of what the model is called with, "
    "options a dict of what else jaxdrop.surgery.audit takes"
)


def main(arguments: list[str]) -> int:
    """Print the audit; return 0 if nothing is wrong, and 1 if something is."""
    timed = "--timed" in arguments
    names = [argument for argument in arguments if argument != "--timed"]
    if len(names) != 1 or names[0].startswith("-"):
        _stop(f"got {' '.join(arguments) or 'no arguments'}; type {USAGE}")
    model, inputs, options = _subject(_factory(names[0])(), names[0])
    if isinstance(model, nn.Module) and "variables" not in options:
        options = {"variables": _initialised(model, inputs), **options}
    found = audit(model, *inputs, **{"timed": timed, **options})
    print(found)
    return int(bool(found.findings))


def _factory(name: str) -> Callable[[], Any]:
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        _stop(f"got {name!r}, which is not of the form MODULE:FACTORY; type {USAGE}")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        _stop(f"{error}: {module!r} cannot be imported from {os.getcwd()}; go to where it can")
    factory = getattr(found, function, None)
    if not callable(factory):
        own = [v for v in vars(found).values() if inspect.isfunction(v) and v.__module__ == module]
        there = ", ".join(v.__name__ for v in own)
        _stop(f"{module!r} has no function {function!r}; it has {there or 'none'}")
    return factory


def _subject(made: Any, name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        _stop(f"{name} returned {type(made).__name__}, expected {RETURNS}")
    model, inputs, options = (*made, {})[:3]
    if not isinstance(model, nnx.Module | nn.Module):
        _stop(f"{name} returned a {type(model).__name__} as its model, expected one of Flax")
    if not isinstance(inputs, tuple) or not isinstance(options, Mapping):
        _stop(
            f"{name} returned inputs of type {type(inputs).__name__} and options of type "
            f"{type(options).__name__}, expected {RETURNS}"
        )
    return model, inputs, dict(options)


def _initialised(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    keys = jax.random.split(jax.random.key(0))
    return model.init({"params": keys[0], "dropout": keys[1]}, *inputs)


def _stop(sentence: str) -> NoReturn:
    print(f"scripts/audit: {sentence}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
