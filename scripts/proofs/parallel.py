"""Models split over four devices inside ``shard_map``: what dropout sends, beside the same without.

Attention with its sequence split, as a ring and by all-to-all; two dense layers of which each
device has a part of the hidden units (tensor parallelism); and the same two with parameters that
are gathered before use, and a part of the batch on each device (FSDP).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo, report
from scripts.proofs.stack import RATE, abstract_key

AXIS = "devices"
LENGTH, HEADS, SIZE = 32768, 8, 64  # of a head
ROWS, WIDTH, HIDDEN = 4096, 1024, 4096
Apply = Callable[..., jax.Array]  # (rate, key, *a device's parts of the arrays) -> y


class Subject(NamedTuple):
    """A computation on a device, and how its arrays are split."""

    apply: Apply
    specs: tuple[P, ...]
    out: P


def attention(method: Any) -> Subject:
    def attend(rate: float, key: Any, q: Any, k: Any, v: Any) -> jax.Array:
        return jaxdrop.ring_attention(
            q, k, v, axis_name=AXIS, method=method, is_causal=True, dropout_rate=rate,
            dropout_key=key,
        )  # fmt: skip

    return Subject(attend, (P(None, AXIS),) * 3, P(None, AXIS))


def tensor_parallel(rate: float, key: Any, x: Any, up: Any, down: Any) -> jax.Array:
    hidden = jaxdrop.dropout(key, jax.nn.gelu(x @ up), rate, mesh_axes=(None, AXIS))
    return jax.lax.psum(hidden @ down, AXIS)


def fully_sharded(rate: float, key: Any, x: Any, up: Any, down: Any) -> jax.Array:
    up, down = (jax.lax.all_gather(kernel, AXIS, tiled=True) for kernel in (up, down))
    return jaxdrop.dropout(key, jax.nn.gelu(x @ up), rate, mesh_axes=(AXIS,)) @ down


SUBJECTS = {
    "ring attention": attention("ring"),
    "all-to-all attention": attention("all_to_all"),
    "tensor parallelism": Subject(tensor_parallel, (P(), P(None, AXIS), P(AXIS)), P()),
    "FSDP": Subject(fully_sharded, (P(AXIS),) * 3, P(AXIS)),
}


def forward(call: Callable[..., jax.Array]) -> Callable[..., Any]:
    return call


def gradient(call: Callable[..., jax.Array]) -> Callable[..., Any]:
    def both(key: jax.Array, *arrays: jax.Array) -> Any:
        y, pull = jax.vjp(lambda *arrays: call(key, *arrays), *arrays)
        return y, pull(y)

    return both


WAYS: dict[str, Callable[..., Any]] = {"forward": forward, "gradient": gradient}


def shapes(name: str, part: int = 1) -> list[tuple[int, ...]]:
    """Return the shapes of a subject's arrays; ``part`` divides the long ones, for tests."""
    if "attention" in name:
        return [(1, LENGTH // part, HEADS, SIZE)] * 3
    rows, width, hidden = (n // part for n in (ROWS, WIDTH, HIDDEN))
    return [(rows, width), (width, hidden), (hidden, width)]


def over_four(compile: Callable[..., Any], mesh: Any, part: int = 1) -> list[dict[str, Any]]:
    """List what each subject sends and holds on a device, with and without dropout.

    Args:
      compile: (f, shapes, out_shardings) -> program.
      mesh: of the one axis "devices".
      part: as in ``shapes``.
    """
    rows = []
    for name, subject in SUBJECTS.items():
        for way, program in WAYS.items():
            row: dict[str, Any] = {"what": name, "pass": way}
            for column, rate in (("none", 0.0), ("jaxdrop", RATE)):
                compiled = _compiled(compile, mesh, subject, rate, program, shapes(name, part))
                temp = compiled.memory_analysis().temp_size_in_bytes
                row[column] = dict(Counter(hlo.sent(compiled.as_text())))
                row[f"{column}: temp MiB"] = round(temp / 2**20, 2)
            rows.append(row)
            print(row, flush=True)
    return rows


def _compiled(
    compile: Callable[..., Any], mesh: Any, subject: Subject, rate: float, program: Any, sizes: Any
) -> Any:
    """Compile a subject with its arrays split."""

    def shard(key: jax.Array, *arrays: jax.Array) -> jax.Array:
        return subject.apply(rate, key, *arrays)

    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        split = jax.shard_map(
            shard, mesh=mesh.abstract_mesh, in_specs=(P(), *subject.specs), out_specs=subject.out
        )
        whole, out, *shardings = (
            NamedSharding(mesh, spec) for spec in (P(), subject.out, *subject.specs)
        )
        arrays = [
            jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=sharding)
            for shape, sharding in zip(sizes, shardings, strict=True)
        ]
        key = abstract_key().update(sharding=whole)
        results = out if program is forward else (out, tuple(shardings))
        return compile(program(split), (key, *arrays), results)


def check(rows: Sequence[dict[str, Any]], checks: report.Checks) -> None:
    """Add that nothing is sent, and little held, beyond what is without dropout."""
    for name in SUBJECTS:
        found = [row for row in rows if row["what"] == name]
        more = {row["pass"]: Counter(row["jaxdrop"]) - Counter(row["none"]) for row in found}
        sent = "; ".join(f"{row['pass']} {_said(row['jaxdrop'])}" for row in found)
        beyond = "".join(f"; {way} has {_said(m)} more" for way, m in more.items() if m)
        checks.add(
            f"{name} over four devices: no collective beyond those without dropout",
            not any(more.values()),
            f"{sent}{beyond}",
        )
        temps = [(row["jaxdrop: temp MiB"], row["none: temp MiB"]) for row in found]
        checks.add(
            f"{name} over four devices: temp memory within 2% of no dropout",
            all(ours <= 1.02 * plain for ours, plain in temps),
            "; ".join(f"{ours} MiB, no dropout {plain}" for ours, plain in temps),
        )


def _said(sent: Any) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(sent.items())) or "none"


ABOUT = f"""\
Split over four devices, bfloat16, rate {RATE}: causal attention of {LENGTH} queries and keys with
{HEADS} heads of {SIZE} numbers; dense layers of {WIDTH}, {HIDDEN} and {WIDTH} units on {ROWS} rows.
*Sent*: collectives of a program; the body of a loop counts once. *MiB*: temporary memory of a
device.
"""


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    head = ["what", "pass", "sent", "sent without dropout", "MiB", "MiB without dropout"]
    cells = [
        [row["what"], row["pass"], _said(row["jaxdrop"]), _said(row["none"])]
        + [row["jaxdrop: temp MiB"], row["none: temp MiB"]]
        for row in rows
    ]
    return f"{ABOUT}\n{report.table(head, cells)}"
