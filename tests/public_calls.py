"""Every public call with one valid set of arguments, for the table of bad input.

Members of the family and layers come from their records; what is written out here is the rest. A
public name that is neither here nor in ``NO_CALLS`` fails the table's test.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flax import nnx

from scripts.members._rnn import LinenRNN
from tests.flax.layers import LAYERS as LAYERS
from tests.functional.over_members import RATE
from tests.functional.over_members import members as members
from tests.public_examples import KEY, Kinds, fresh
from tests.public_functions import FUNCTIONS as FUNCTIONS
from tests.public_functions import NO_CALLS as NO_CALLS


class Call(NamedTuple):
    """One public call.

    Attributes:
      run: takes every argument by name.
      valid: arguments that are taken; the others have a default.
      names: of all arguments that are given bad values.
      kinds: of arguments that are of another kind here than their name says elsewhere; None of
        those that are not looked at.
    """

    run: Callable[..., Any]
    valid: dict[str, Any]
    names: tuple[str, ...]
    kinds: Kinds = {}


def public_names(module: Any) -> set[str]:
    here = module.__name__
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", here).startswith("jaxdrop")
        and not isinstance(value, bool)  # TYPE_CHECKING
    }


def calls() -> Iterator[tuple[str, Call]]:
    for member in members:
        yield member.id, of_member(member)
    for module, functions in FUNCTIONS.items():
        for name, (valid, kinds) in functions.items():
            function = functools.reduce(getattr, name.split("."), module)
            names = tuple(inspect.signature(function).parameters)
            yield f"{module.__name__}.{name}", Call(fresh(function), valid, names, kinds)
    for name in LAYERS:
        yield f"linen.{name}", of_linen(name)
        yield f"nnx.{name}", of_nnx(name)


def of_member(member: Any) -> Call:
    names = tuple(inspect.signature(member.function).parameters)
    x = member.example()
    args = dict(zip(names, (KEY, x, RATE) if member.rated else (KEY, x), strict=False))
    kinds = dict(member.bad_input)
    if member.integer_input:
        kinds[names[1]] = "integers"
    elif member.integers:
        kinds[names[1]] = "numbers"
    elif not member.complex_input:
        kinds[names[1]] = "reals"
    return Call(member.function, args | member.options(x), names, kinds)


FLAXES = {"parent", "name", "rng_collection", "dtype", "param_dtype", "kernel_init", "bias_init"}
"""Arguments that a layer hands on to flax, or has from it."""


def kinds_of(name: str) -> Kinds:
    return {"inputs": "floats", **LAYERS[name].bad_input}


def of_linen(name: str) -> Call:
    """Fields of the module, and its input."""
    layer = LAYERS[name]
    outer = layer.linen()
    inner = outer.cell if isinstance(outer, LinenRNN) else outer
    fields = [f.name for f in dataclasses.fields(inner) if f.name not in FLAXES]

    def run(**given: Any) -> Any:
        x = given.pop("inputs", layer.x)
        module = inner.clone(**given)
        if inner is not outer:
            module = outer.clone(cell=module)
        keys = {name: KEY for name in ("params", "dropout", "zoneout")}
        return module.init_with_output(keys, x)

    return Call(run, {}, (*fields, "inputs"), kinds_of(name))


def of_nnx(name: str) -> Call:
    """Arguments of the constructor, and the input of a call."""
    layer = LAYERS[name]
    kind = layer.nnx_class
    signature = inspect.signature(kind.__init__)
    names = [n for n in signature.parameters if n not in FLAXES | {"self"}]

    def run(**given: Any) -> Any:
        x = given.pop("inputs", layer.x)
        made = kind.__init__

        def make(self: Any, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            bound.arguments.update(given)
            made(*bound.args, **bound.kwargs)

        kind.__init__ = make
        try:
            model = layer.nnx(nnx.Rngs(0))
        finally:
            kind.__init__ = made
        return model(x)

    return Call(run, {}, (*names, "inputs"), kinds_of(name))
