"""Every function and layer of the family, compiled: what is in memory, sent and launched.

Compiled are ``x -> member(tanh(x))`` and that with its gradient, in training; the same in test
mode, which is the program without dropout; and the former with x split over four devices.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from scripts.members import RECORDS, Case, Layer
from scripts.members._rnn import LinenRNN
from scripts.proofs import hlo, report, stack

ROWS, RATE = 1024, 0.3
Apply = Callable[[jax.Array, jax.Array, Any], jax.Array]  # (key, x, parameters) -> y
Compile = Callable[..., Any]  # (f, shapes, four=False): for one device, or x split over four


def compiler(platform: str, one: Sharding, mesh: Mesh) -> Compile:
    """Return what compiles for one device, or with x split over those of the mesh."""
    everywhere, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P(mesh.axis_names[0]))

    def compile(f: Callable[..., Any], shapes: tuple[Any, ...], four: bool = False) -> Any:
        # Where the output may lie anywhere, a GPU's compiler gathers that of any conditional.
        ins, out = ((everywhere, rows, everywhere), rows) if four else (one, one)
        jitted = jax.jit(f, in_shardings=ins, out_shardings=out)
        return jitted.trace(*shapes).lower(lowering_platforms=(platform,)).compile()

    return compile


class Call(NamedTuple):
    """One way to call a member, in training and in test mode."""

    name: str
    training: Apply
    test: Apply
    x: jax.ShapeDtypeStruct
    params: Any
    maskless: bool  # that no mask is in memory is promised
    collects: bool = False  # examples that XLA has spread over devices


def calls() -> Iterator[Call]:
    """Each function, in bfloat16, and each layer in Linen and in NNX, in float32."""
    for record in RECORDS:
        for case in record.cases:
            yield _function(case)
        maskless = all(map(_maskless, record.cases))
        for layer in record.layers:
            yield _linen(layer, maskless)
            yield _nnx(layer, maskless)


def _maskless(case: Case) -> bool:
    """Whether there is a mask, and it need not be in memory: windows of DropBlock's are read."""
    return case.lean and case.shared is not None and len(case.shared) < len(case.shape)


def _function(case: Case) -> Call:
    dtype = jnp.int32 if case.integer_input else jnp.bfloat16
    return Call(
        f"`{case.name}`" + (f", {case.label}" if case.label else ""),
        lambda key, x, params: case.apply(key, x, RATE),
        lambda key, x, params: case.apply(key, x, RATE, deterministic=True),
        jax.ShapeDtypeStruct((ROWS, *case.shape[1:]), dtype),
        {},
        _maskless(case),
        case.collects,
    )


def _linen(layer: Layer, maskless: bool) -> Call:
    module: Any = layer.linen()
    if isinstance(module, LinenRNN):
        test = module.clone(cell=module.cell.clone(deterministic=True))
    else:
        test = module.clone(deterministic=True)

    def apply(module: Any) -> Apply:
        return lambda key, x, params: module.apply(params, x, rngs={"dropout": key, "zoneout": key})

    rngs = dict.fromkeys(("params", "dropout", "zoneout"), jax.random.key(0))
    params = jax.eval_shape(module.init, rngs, layer.x)
    return Call(
        f"Linen {layer.id}", apply(module), apply(test), _rows(layer), params, maskless,
        layer.collects,
    )  # fmt: skip


def _nnx(layer: Layer, maskless: bool) -> Call:
    def apply(module: nnx.Module) -> tuple[Apply, Any]:
        graph, *states = nnx.split(module, nnx.Param, ...)
        params, rest = map(nnx.as_pure, states)

        def call(key: jax.Array, x: jax.Array, params: Any) -> jax.Array:
            merged: Any = nnx.merge(graph, params, rest)
            nnx.reseed(merged, default=key)
            return merged(x)

        return call, params

    training, params = apply(layer.nnx(nnx.Rngs(0)))
    test_module = layer.nnx(nnx.Rngs(0))
    test_module.eval()
    name = f"NNX {layer.nnx_name or layer.name}" + (f", {layer.label}" if layer.label else "")
    shapes = jax.eval_shape(lambda: params)
    test = apply(test_module)[0]
    return Call(name, training, test, _rows(layer), shapes, maskless, layer.collects)


def _rows(layer: Layer) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((ROWS, *layer.x.shape[1:]), layer.x.dtype)


def forward(apply: Apply, learned: bool = True) -> Callable[..., Any]:
    """Return the call behind an operation that it should be fused with."""
    return lambda key, x, params: apply(key, _before(x), params)


def gradient(apply: Apply, learned: bool = True) -> Callable[..., Any]:
    """Return the same with its gradient for x, and for the parameters if learned."""

    def both(key: jax.Array, x: jax.Array, params: Any) -> Any:
        def f(x: jax.Array, *learned: Any) -> jax.Array:
            return apply(key, _before(x), *(learned or (params,)))

        y, pull = jax.vjp(f, x, *((params,) if learned else ()))
        return y, pull(y)

    return both


def _before(x: jax.Array) -> jax.Array:
    return x + x if jnp.issubdtype(x.dtype, jnp.integer) else jnp.tanh(x)


WAYS: dict[str, Callable[..., Any]] = {"forward": forward, "gradient": gradient}


def look(call: Call, way: str, compile: Compile) -> dict[str, Any]:
    """Compile a call one way, and say what is in memory and how much more is launched."""
    program, shapes = WAYS[way], (stack.abstract_key(), call.x, call.params)
    training, test = (compile(program(f), shapes) for f in (call.training, call.test))
    texts = training.as_text(), test.as_text()
    temp = [c.memory_analysis().temp_size_in_bytes for c in (training, test)]
    return {
        "mask buffers": len(hlo.mask_buffers(texts[0], call.x.size)),
        "bytes": round((temp[0] - temp[1]) / call.x.size, 2),
        "launches": hlo.launches(texts[0]) - hlo.launches(texts[1]),
    }


def sent_over_four(call: Call, compile: Compile) -> int:
    """Count the collectives beyond those of test mode, x being split over four devices.

    The gradient is the one for x alone, since that for a parameter which all devices hold is a sum
    over them, with dropout or without.
    """
    program = WAYS[_ways(call)[-1]]

    def sent(f: Apply) -> int:
        shapes = (stack.abstract_key(), call.x, call.params)
        return len(hlo.sent(compile(program(f, learned=False), shapes, four=True).as_text()))

    found = sent(call.training)
    return found - sent(call.test) if found else 0


def _ways(call: Call) -> list[str]:
    return list(WAYS) if jnp.issubdtype(call.x.dtype, jnp.inexact) else ["forward"]


def family(compile: Compile, checks: report.Checks, by_bytes: bool = True) -> list[dict[str, Any]]:
    """Compile every call, forward and with its gradient; check what is promised of each.

    by_bytes also takes more temporary memory for a mask; on a TPU each number of a key is padded
    to a tile, so that drawing takes more than these small arrays.
    """
    rows = []
    for call in calls():
        row: dict[str, Any] = {"call": call.name, "maskless": call.maskless}
        row |= {"learned": bool(call.params), "collects": call.collects}
        try:
            for way in _ways(call):
                row[way] = look(call, way, compile)
            row["collectives"] = sent_over_four(call, compile)
        except Exception as error:  # any that a compiler may raise; the report names it
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        rows.append(row)
        print(row, flush=True)
    check_family(rows, checks, by_bytes)
    return rows


def check_family(rows: list[dict[str, Any]], checks: report.Checks, by_bytes: bool) -> None:
    """Add what holds of every row, and where it does not."""
    made = [row for row in rows if "error" not in row]
    maskless = [row for row in made if row["maskless"]]
    spread = [row for row in made if not row["collects"]]  # docs/guarantees.md names the others
    for claim, of, wrong in (
        ("compiles, forward and gradient", rows, [r for r in rows if "error" in r]),
        (
            "no mask in memory where none is promised",
            maskless,
            [r for r in maskless if _stores(r, by_bytes)],
        ),
        (
            "no collective over four devices beyond those of test mode, apart from loops over "
            "examples and subsets of them",
            spread,
            [r for r in spread if r["collectives"] > 0],
        ),
    ):
        names = "".join(f"; not {r['call']}" + _because(r) for r in wrong)
        found = f"{len(of) - len(wrong)} of {len(of)}{names}"
        checks.add(f"every member and layer: {claim}", not wrong, found)


def _because(row: dict[str, Any]) -> str:
    return f": {row['error']}" if "error" in row else ""


def _stores(row: dict[str, Any], by_bytes: bool) -> bool:
    """Whether a mask is stored. More memory is no proof of it where something is learned."""
    by_bytes = by_bytes and not row["learned"]
    found = [row[way] for way in WAYS if way in row]
    return any(f["mask buffers"] or (by_bytes and f["bytes"] >= 1) for f in found)


ABOUT = f"""\
Each is `x -> member(tanh(x))` on {ROWS} rows, forward / with its gradient, in training; functions
are compiled in bfloat16, layers in float32. *Mask buffers*: boolean and integer arrays of x's size
that are written to memory; in brackets where the mask is read in windows, gathered or multiplied,
or where there is none. The rest is over the same in test mode. *Bytes for an element*: temporary
memory. *Launches*: the body of a loop counts once. *Collectives*: with x and the result split over
four devices, with the gradient for x.
"""


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table: a row for each call, forward and gradient in one cell."""
    head = ["call", "compiles", "mask buffers", "bytes for an element", "launches", "collectives"]
    return f"{ABOUT}\n{report.table(head, [_cells(row) for row in rows])}"


def _cells(row: dict[str, Any]) -> list[str]:
    ways = [row[way] for way in WAYS if way in row]

    def cell(name: str, form: str = "{:+g}") -> str:
        return " / ".join(form.format(way[name]) for way in ways) or "-"

    masks = cell("mask buffers", "{}")
    return [
        row["call"],
        "**NO**" if "error" in row else "yes",
        masks if row["maskless"] else f"({masks})",
        cell("bytes"),
        cell("launches"),
        str(row.get("collectives", "-")),
    ]
