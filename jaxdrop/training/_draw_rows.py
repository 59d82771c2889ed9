"""draw_rows: run a microbatch's program so that its draws are the microbatch's part of the batch's.

Only the equations that draw are run in another way, and the loops, branches and calls around them.
Of its own draws, jaxdrop's generator gives any part; of those of ``jax.random``, the whole batch's
are drawn and cut.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jax.sharding import PartitionSpec

from jaxdrop._core.bits import _bits_p
from jaxdrop._core.first_row import _first_row_p
from jaxdrop._core.index import Limbs, add, times
from jaxdrop._core.masked_scale import _drop_p
from jaxdrop._core.varying import alike
from jaxdrop.training import _program_parts as parts
from jaxdrop.training._batch_windows import Path, Window

Windows = dict[Path, Window]


def draw_rows(program: Any, windows: Windows, first: Any, inputs: Sequence[Any]) -> list[Any]:
    """Return the results of a program whose draws begin at a row of the batch.

    Args:
      program: traced for the rows of a microbatch.
      windows: from ``find_windows``.
      first: number of the microbatch's first row, uint32, may be traced.
      inputs: of the program.
    """
    jaxpr = parts.opened(program)
    env = dict(parts.constants(program))
    env.update(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else env[variable]

    concerned = {path[0] for path in windows}
    for i, eqn in enumerate(jaxpr.eqns):
        values = [read(v) for v in eqn.invars]
        with eqn.ctx.manager:
            if (i,) in windows:
                results = [_draw(eqn, windows[i,], first, values)]
            elif i in concerned:
                results = _around(eqn, _within(windows, i), first, values)
            else:
                results = parts.bind(eqn, values)
        env.update(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _within(windows: Windows, i: int) -> dict[int, Windows]:
    """Return the windows in the programs of an equation, by the number of the program."""
    inside: dict[int, Windows] = {}
    for path, window in windows.items():
        if path[0] == i:
            inside.setdefault(path[1], {})[path[2:]] = window
    return inside


def _draw(eqn: Any, window: Window, first: Any, values: list[Any]) -> Any:
    if eqn.primitive is _first_row_p:
        return values[0] + _row(window, first).astype(values[0].dtype)
    if eqn.primitive is _drop_p:
        x, words, low, high, *rest = values
        base = _moved((low, high), window, first)
        params = {**eqn.params, "form": eqn.params["form"]._replace(block=window.block)}
        return _drop_p.bind(*alike(x, words, *base, *rest), **params)
    if eqn.primitive is _bits_p:
        words, low, high = values
        base = _moved((low, high), window, first)
        return _bits_p.bind(*alike(words, *base), **{**eqn.params, "block": window.block})
    (whole,) = parts.bind(eqn.replace(params=window.params), values)
    rows = eqn.outvars[0].aval.shape[window.dim]
    return jax.lax.dynamic_slice_in_dim(whole, first, rows, window.dim)


def _moved(base: Limbs, window: Window, first: Any) -> Limbs:
    """Return the index of the first element, with the microbatch's first row counted in."""
    assert window.block is not None
    return add(base, times(_row(window, first), window.block.strides[window.dim]))


def _row(window: Window, first: Any) -> jax.Array:
    """Return by how many rows a microbatch lies further than its program says."""
    row = jnp.asarray(first, jnp.uint32)
    if not window.axes:
        return row
    device = jax.lax.axis_index(window.axes).astype(jnp.uint32)
    return row + device * np.uint32(window.between)


def _around(eqn: Any, inside: dict[int, Windows], first: Any, values: list[Any]) -> Any:
    """Run a loop, a branch or a call that has such draws in it."""
    name, params = eqn.primitive.name, eqn.params

    def part(number: int, program: Any) -> Callable[..., list[Any]]:
        return lambda *inputs: draw_rows(program, inside.get(number, {}), first, inputs)

    if name == "scan":
        consts, carry, xs = parts.split_at(values, *parts.scan_sizes(eqn))
        body = part(0, params["jaxpr"])

        def step(carry: Any, x: Any) -> Any:
            return tuple(parts.split_at(body(*consts, *carry, *x), len(carry)))

        options = {key: params[key] for key in ("length", "reverse", "unroll")}
        carry, ys = jax.lax.scan(step, _arrays(eqn, carry, len(consts)), xs, **options)
        return [*carry, *ys]
    if name == "while":
        of_cond, consts, carry = parts.split_at(
            values, params["cond_nconsts"], params["body_nconsts"]
        )
        test, body = part(0, params["cond_jaxpr"]), part(1, params["body_jaxpr"])
        return jax.lax.while_loop(
            lambda carry: test(*of_cond, *carry)[0],
            lambda carry: body(*consts, *carry),
            _arrays(eqn, carry, len(of_cond) + len(consts)),
        )
    if name == "cond":
        branches = [part(i, program) for i, program in enumerate(params["branches"])]
        return jax.lax.switch(values[0], branches, *values[1:])
    if name == "shard_map":
        split = jax.shard_map(
            lambda first, *shards: draw_rows(params["jaxpr"], inside[0], first, shards),
            mesh=params["mesh"],
            in_specs=(PartitionSpec(), *params["in_specs"]),
            out_specs=list(params["out_specs"]),
            axis_names=set(params["newly_manual_axes"]),
            check_vma=params["check_vma"],
        )
        return list(split(first, *values))
    call = part(0, parts.called(eqn))
    if "prevent_cse" in params:
        call = jax.checkpoint(call, prevent_cse=params["prevent_cse"], policy=params["policy"])
    return call(*values)


def _arrays(eqn: Any, carry: list[Any], before: int) -> list[Any]:
    """Return what a loop carries; a literal gets the dtype that it has in the program."""
    avals = [v.aval for v in eqn.invars[before : before + len(carry)]]
    return [
        value if isinstance(value, jax.Array) else jnp.asarray(value, aval.dtype)
        for value, aval in zip(carry, avals, strict=True)
    ]
