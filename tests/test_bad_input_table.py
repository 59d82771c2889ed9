"""Bad input, as a table: every public call x every argument x what is bad for its kind.

Each is told in one sentence of ours, before any work: a TypeError or a ValueError that names what
was given and the way out. A new member or layer falls in by its record, a new argument by its name.
"""

import re
import traceback
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.mc
import jaxdrop.nnx
import jaxdrop.testing
from tests.argument_kinds import KINDS
from tests.bad_values import Traced, bad_values
from tests.flax.layers import NO_RECORD
from tests.public_calls import FUNCTIONS, LAYERS, NO_CALLS, Call, calls, members, public_names

CALLS = dict(calls())
WAY_OUT = re.compile(r"expect|take|pass |give|need|use |leave|convert|broadcast against|multiplies")
# Flax's Dropout, of which ours is a subclass, says these in its own words.
FLAX_SAYS = {("linen.Dropout", "deterministic"), ("nnx.Dropout", "rngs")}
FLAX_SAYS |= {("jaxdrop.surgery.insert", "rngs")}
# What flax, jax or a model takes, and what its owners test: config in tests/training.
UNSEEN = {"variables", "options", "apply_fn", "params"}
UNSEEN |= {"collections", "kwargs", "wrt", "rng_collection"}

# Whose results, or whose verdicts, are known on the host only.
RUN = ("jaxdrop.testing", "jaxdrop.training", "jaxdrop.surgery", "jaxdrop.variational.sparsity")


def cases(name: str, call: Call) -> Iterator[tuple[str, Any]]:
    """The bad values of each argument; of a layer, whose function is here too, every seventh."""
    for argument in call.names:
        kind = call.kinds.get(argument, KINDS.get(argument))
        if kind is not None:
            step = 7 if name.startswith(("linen.", "nnx.")) else 1
            yield from ((argument, value) for value in bad_values(kind)[::step])


def run(call: Call, argument: str, value: Any) -> None:
    if isinstance(value, Traced):
        jax.eval_shape(lambda v: run(call, argument, v), value.struct)
    else:
        call.run(**{**call.valid, argument: value})


def words_for(value: Any) -> set[str]:
    """What a sentence may call a value: itself, its shape, its dtype or its type."""
    if isinstance(value, Traced):
        return {str(value.struct.dtype), str(value.struct.shape), "Tracer"}
    words = {type(value).__name__}
    if isinstance(value, (jax.Array, np.ndarray)):
        dtype = str(value.dtype)  # of 32 bits in jax
        words |= {dtype, dtype.replace("64", "32"), dtype.replace("128", "64"), "random key"}
        words |= {str(value.shape), str(value.shape[:-1]), "deleted"}
        if isinstance(value, jax.Array) and (value.is_deleted() or value.size > 9):
            return words
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            return words
        words |= {str(value.size), repr(value)}
        return words.union(*map(words_for, np.asarray(value).ravel().tolist()))
    words |= {repr(value), str(value)}
    if value is None:
        return words | {"dtype object"}
    if isinstance(value, int) and abs(value) >= 10**400:
        return words | {"inf"}
    if isinstance(value, (int, float, complex)):
        return words | {"()", f"{value:.4g}", f"{type(value).__name__}32"}
    if isinstance(value, dict):
        return words | {"FrozenDict", *map(str, value)}
    if isinstance(value, (tuple, list)):
        words |= {str(len(value)), str((len(value),)), *map(str, range(len(value)))}
        words |= {str(tuple(value))}  # what Linen makes of a list
        words = words.union(*map(words_for, value))
    return words


def fault(name: str, call: Call, argument: str, value: Any) -> str | None:
    """Say what is wrong with how the call takes the value; None for a sentence as promised."""
    words = words_for(value)
    try:
        run(call, argument, value)
    except (TypeError, ValueError) as error:
        said = str(error)
        where = traceback.extract_tb(error.__traceback__)[-1].filename
    except Exception as error:
        return f"raised {type(error).__name__}: {error!s:.200}"
    else:
        return "was taken"
    if "/jaxdrop/" not in where and (name, argument) not in FLAX_SAYS:
        return f"was told by {where}: {said:.200}"
    # As a word of its own: "int" is no part of "integer". What is long may be cut off.
    there = (rf"(?<!\w){re.escape(word[:25])}" + r"(?!\w)" * (len(word) < 25) for word in words)
    if not any(re.search(pattern, said) for pattern in there):
        return f"is not named: {said}"
    if not WAY_OUT.search(said) and (name, argument) not in FLAX_SAYS:
        return f"is told without a way out: {said}"
    return None


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Without the search for keys that are used twice, which traces every primitive."""
    jax.config.update("jax_debug_key_reuse", False)
    yield
    jax.config.update("jax_debug_key_reuse", True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", CALLS)
def test_bad_input_is_told_in_a_sentence(name: str) -> None:
    call = CALLS[name]
    faults = []
    for argument, value in cases(name, call):
        wrong = fault(name, call, argument, value)
        if wrong is not None:
            faults.append(f"{argument} of type {type(value).__name__}: {wrong}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_is_of_a_known_kind(name: str) -> None:
    call = CALLS[name]
    known = KINDS.keys() | call.kinds.keys() | UNSEEN
    assert set(call.names) <= known, "say in tests/argument_kinds.py what is bad for it"


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CALLS if n.startswith("jaxdrop.")])
def test_the_arguments_that_are_not_bad_are_taken(name: str) -> None:
    """The calls of members and layers are in tests of their own."""
    call = CALLS[name]
    if name.startswith(RUN):
        call.run(**call.valid)
    else:  # nothing is compiled
        jax.make_jaxpr(lambda: jax.tree.leaves(call.run(**call.valid)) and None)()


def test_every_public_name_is_in_the_table() -> None:
    there = {member.name for member in members}
    for module, functions in FUNCTIONS.items():
        named = {name for name in functions if "." not in name}
        assert public_names(module) == there | named | NO_CALLS[module]
        there = set()
    for package, base, library in (
        (jaxdrop.linen, nn.Module, "linen_class"),
        (jaxdrop.nnx, nnx.Module, "nnx_class"),
    ):
        kinds = {name: getattr(package, name) for name in public_names(package)}
        names = {n for n, k in kinds.items() if isinstance(k, type) and issubclass(k, base)}
        recorded = {getattr(layer, library).__name__ for layer in LAYERS.values()}
        assert names == recorded | NO_RECORD


def test_there_are_thousands_of_them() -> None:
    assert sum(1 for name, call in CALLS.items() for _ in cases(name, call)) > 5000


def test_a_call_that_takes_anything_is_caught() -> None:
    """The test of the test: no error, an error of another kind, a sentence that names nothing."""

    def vague(x: Any) -> None:
        raise ValueError("wrong")

    for bad in (lambda x: None, lambda x: x.nonsense, lambda x: len(x), vague):
        assert fault("", Call(bad, {}, ("x",)), "x", 3) is not None
    assert fault("", Call(jaxdrop.drop_path_rates, {"max_rate": 0.1}, ()), "depth", "3") is None
