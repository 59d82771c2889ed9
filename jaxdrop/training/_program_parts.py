"""The parts of a traced program, by names that hold in every version of jax that is supported."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import Literal

from jaxdrop._core.bits import _bits_p
from jaxdrop._core.index import Block
from jaxdrop._core.masked_scale import _drop_p

CALLS = {"jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint"}
CUSTOM = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
JAX_DRAWS = {"random_bits", "random_split"}
KERNELS = {"pallas_call", "core_map", "run_state", "mpmd_map"}
"""Operations that run a kernel, in which nothing can be seen."""


class Draw(NamedTuple):
    """What an equation draws."""

    shape: tuple[int, ...]
    block: Block | None  # of jaxdrop's own draws
    first_dim: int  # where the shape begins among the result's dimensions


def draw_of(eqn: Any) -> Draw | None:
    """Return what an equation draws; None if it draws nothing."""
    if eqn.primitive is _drop_p:
        block = eqn.params["form"].block
        return Draw(block.shape, block, 0)
    if eqn.primitive is _bits_p:
        block = eqn.params["block"]
        return Draw(block.shape, block, 0)
    if eqn.primitive.name in JAX_DRAWS:
        return Draw(tuple(eqn.params["shape"]), None, len(eqn.invars[0].aval.shape))
    return None


def draws_inside(program: Any) -> list[Any]:
    """Return what the equations of a program draw, and of the programs in it."""
    found: list[Any] = []
    for eqn in opened(program).eqns:
        if (draw := draw_of(eqn)) is not None:
            found.append(draw)
        elif draws_in_kernel(eqn):
            found.append((eqn.primitive.name, eqn.outvars[0].aval.shape))
        for part in parts_of(eqn):
            found += draws_inside(part)
    return found


def layouts(eqn: Any) -> list[Any]:
    """Return how indices follow from where they begin, in the draws of an equation."""
    draws = [(d, getattr(d, "block", None)) for d in draws_of(eqn)]
    return [d if block is None else (block.strides, block.wide) for d, block in draws]


def draws_of(eqn: Any) -> list[Any]:
    """Return what an equation draws, itself and in the programs that it runs."""
    own = draw_of(eqn)
    inside = [draw for program in parts_of(eqn) for draw in draws_inside(program)]
    return inside if own is None else [own, *inside]


def result_shapes(eqn: Any) -> list[Any]:
    """Return the shapes of an equation's results."""
    return [getattr(v.aval, "shape", None) for v in eqn.outvars]


def draws_in_kernel(eqn: Any) -> bool:
    """Return whether an equation is a kernel that is given the words of a key."""
    return eqn.primitive.name in KERNELS and any(_is_words(v.aval) for v in eqn.invars)


def parts_of(eqn: Any) -> list[Any]:
    """Return the programs that an equation runs."""
    values = [w for v in eqn.params.values() for w in (v if isinstance(v, tuple) else (v,))]
    return [value for value in values if hasattr(opened(value), "eqns")]


def bind(eqn: Any, values: list[Any]) -> list[Any]:
    """Return the results of an equation."""
    outs = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(outs) if eqn.primitive.multiple_results else [outs]


def opened(program: Any) -> Any:
    """Return the equations' owner of a program that may hold constants."""
    return getattr(program, "jaxpr", program)


def constants(program: Any) -> list[tuple[Any, Any]]:
    """Return the variables of a program's constants, and what they are."""
    return list(zip(opened(program).constvars, getattr(program, "consts", ()), strict=True))


def called(eqn: Any) -> Any:
    """Return the program of a call."""
    return eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"]


def scan_sizes(eqn: Any) -> tuple[int, int]:
    """Return how many inputs of a scan are constants, and how many are carried."""
    if "ft_in" in eqn.params:  # since jax 0.12
        consts, carry, _ = eqn.params["ft_in"].unpack()
        return len(consts), len(carry)
    return eqn.params["num_consts"], eqn.params["num_carry"]


def split_at(values: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """Cut a sequence into parts of these sizes and what is left."""
    parts, left = [], list(values)
    for size in sizes:
        parts.append(left[:size])
        left = left[size:]
    return [*parts, left]


def known(variable: Any) -> Any:
    """Return a literal's value; None for a variable."""
    return variable.val if isinstance(variable, Literal) else None


def _is_words(aval: Any) -> bool:
    return getattr(aval, "dtype", None) == jnp.uint32 and aval.shape == (4,)
