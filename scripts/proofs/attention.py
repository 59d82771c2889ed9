"""Attention with dropout, compiled: what is in memory, and what is sent between devices.

Beside it ``none``, the same attention at rate 0, and flax's ``linen.dot_product_attention`` with a
mask for each head, which holds all weights.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from flax import linen
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from scripts.proofs import hlo, report, sass
from scripts.proofs.stack import RATE, abstract_key

LENGTH, HEADS, SIZE = 32768, 8, 64  # of a head
Attend = Callable[..., jax.Array]  # (key, query, keys, values) -> y
# Which of [batch, length, heads, size] the four devices share, in queries and in keys and values.
SPLITS = {
    "batch": (P("devices"), P("devices")),
    "heads": (P(None, None, "devices"), P(None, None, "devices")),
    "queries": (P(None, "devices"), P()),
}


def ours(rate: float, **options: Any) -> Attend:
    return lambda key, q, k, v: jaxdrop.dot_product_attention(
        q, k, v, dropout_rate=rate, dropout_key=key, implementation="blockwise", **options
    )


def flax(rate: float) -> Attend:
    return lambda key, q, k, v: linen.dot_product_attention(
        q, k, v, dropout_rng=key, dropout_rate=rate, broadcast_dropout=False
    )


SUBJECTS: dict[str, Attend] = {
    "none": ours(0.0),
    "jaxdrop": ours(RATE),
    "none, causal": ours(0.0, is_causal=True),
    "jaxdrop, causal": ours(RATE, is_causal=True),
    "flax, none": flax(0.0),
    "flax": flax(RATE),
}


def forward(attend: Attend) -> Callable[..., Any]:
    return lambda key, q, k, v, dy: attend(key, q, k, v)


def gradient(attend: Attend) -> Callable[..., Any]:
    def both(key: jax.Array, q: jax.Array, k: jax.Array, v: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(lambda *parts: attend(key, *parts), q, k, v)
        return y, pull(dy)

    return both


WAYS: dict[str, Callable[..., Any]] = {"forward": forward, "gradient": gradient}


def memory(compile: Callable[..., Any], length: int = LENGTH) -> list[dict[str, Any]]:
    """Compile every subject, and ours at half the length; say what lies in memory.

    Args:
      compile: (f, *shapes) -> program.
      length: of queries and keys.
    """

    def temp(f: Callable[..., Any], length: int) -> tuple[Any, float]:
        x = jax.ShapeDtypeStruct((1, length, HEADS, SIZE), jnp.bfloat16)
        compiled = compile(f, abstract_key(), x, x, x, x)
        return compiled, compiled.memory_analysis().temp_size_in_bytes / 2**20

    rows = []
    for way, passes in WAYS.items():
        for name, attend in SUBJECTS.items():
            compiled, found = temp(passes(attend), length)
            half = None if "flax" in name else temp(passes(attend), length // 2)[1]
            text = compiled.as_text()
            row = {
                "pass": way,
                "dropout": name,
                "temp MiB": round(found, 2),
                "times half the length": round(found / half, 2) if half else "-",
                "mask buffers": len(hlo.mask_buffers(text, length)),
                "passes over memory": len(hlo.pass_names(text, length)),
            }
            rows.append(row)
            print(row, flush=True)
    return rows


def check_memory(rows: Sequence[dict[str, Any]], checks: report.Checks) -> None:
    """Add what is promised: no mask, memory and passes as without dropout, linear in the length."""
    found = {(row["pass"], row["dropout"]): row for row in rows}
    for (way, name), row in found.items():
        if not name.startswith("jaxdrop"):
            continue
        plain = found[way, name.replace("jaxdrop", "none")]
        temp, theirs = row["temp MiB"], found[way, "flax"]["temp MiB"]
        passes = row["passes over memory"], plain["passes over memory"]
        label = f"attention, {way}{name.removeprefix('jaxdrop')}"
        masks = row["mask buffers"], plain["mask buffers"]
        checks.add(
            f"{label}: no mask buffer beyond those without dropout",
            masks[0] <= masks[1],
            f"{masks[0]} buffers, no dropout {masks[1]}",
        )
        checks.add(
            f"{label}: temp memory within 2% of no dropout",
            temp <= 1.02 * plain["temp MiB"],
            f"{temp} MiB, no dropout {plain['temp MiB']}, flax {theirs}",
        )
        checks.add(
            f"{label}: at most 2.2 times the memory of half the length",
            row["times half the length"] <= 2.2,
            f"{row['times half the length']} times",
        )
        checks.add(
            f"{label}: no more passes over memory than without dropout",
            passes[0] <= passes[1],
            f"{passes[0]}, no dropout {passes[1]}",
        )


ABOUT = f"""\
One example of {LENGTH} queries and keys, {HEADS} heads of {SIZE} numbers, bfloat16, rate {RATE}.
*Mask buffers* are boolean and integer arrays of {LENGTH} elements or more that are written to
memory: with causality also the comparison of a tile's queries and keys. *Passes over memory* write
any array of that size; the body of a loop counts once.
"""


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    return f"{ABOUT}\n{report.table(list(rows[0]), [list(row.values()) for row in rows])}"


def over_four(
    compile: Callable[..., Any], meshes: Sequence[Any], length: int = LENGTH
) -> list[dict[str, Any]]:
    """Count the collectives of ours, causal, with and without dropout, split over four devices.

    Args:
      compile: (f, shapes, out_shardings) -> program.
      meshes: of one axis, "devices", of each type.
      length: of queries and keys.
    """
    rows: list[Any] = []
    for mesh in meshes:
        for split, (of_q, of_kv) in SPLITS.items():
            for way, passes in WAYS.items():
                row: dict[str, Any] = {"axes": mesh.axis_types[0].name, "split": split, "pass": way}
                for name, rate in (("none", 0.0), ("jaxdrop", RATE)):
                    attend = ours(rate, is_causal=True, block_q=length if "q" in split else None)
                    row[name] = hlo.sent(_split(compile, mesh, passes(attend), of_q, of_kv, length))
                rows.append(row)
                print(row, flush=True)
    return rows


def _split(compile: Any, mesh: Any, f: Any, of_q: P, of_kv: P, length: int) -> str:
    """Return the text of the program of f with its arguments split."""
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        q, kv, whole = (NamedSharding(mesh, spec) for spec in (of_q, of_kv, P()))
        shapes = [
            jax.ShapeDtypeStruct((4, length, HEADS, SIZE), jnp.bfloat16, sharding=sharding)
            for sharding in (q, kv, kv, q)
        ]
        key = abstract_key().update(sharding=whole)
        out = q if len(jax.tree.leaves(jax.eval_shape(f, key, *shapes))) == 1 else (q, (q, kv, kv))
        return str(compile(f, (key, *shapes), out).as_text())


def check_sent(rows: Sequence[dict[str, Any]], checks: report.Checks) -> None:
    """Add that dropout sends nothing more than the same attention without."""
    wrong = [row for row in rows if len(row["jaxdrop"]) > len(row["none"])]
    names = "".join(f"; not {row['split']}, {row['axes']}, {row['pass']}" for row in wrong)
    checks.add(
        "attention over four devices: no collective beyond those without dropout",
        not wrong,
        f"{len(rows) - len(wrong)} of {len(rows)} programs{names}",
    )


@contextlib.contextmanager
def kernel() -> Iterator[None]:
    """Let implementation="pallas" compile for a GPU that is not here."""
    from jaxdrop._attention import pallas  # what it imports is for GPUs

    with mock.patch.object(pallas, "pallas", functools.partial(pallas.pallas, here=False)):
        yield


def fused(
    compile: Callable[..., Any],
    compile_split: Callable[..., Any],
    mesh: Any,
    dump: Path,
    length: int = LENGTH,
) -> list[dict[str, Any]]:
    """Compile the experimental kernel, with its gradient: registers, spills, memory, messages.

    Args:
      compile, compile_split, mesh, length: as in ``memory`` and ``over_four``.
      dump: the folder to which Mosaic GPU writes the kernel's PTX.
    """
    rows = []
    for causal in (False, True):
        x = jax.ShapeDtypeStruct((1, length, HEADS, SIZE), jnp.bfloat16)
        batch = P("devices")
        with kernel():
            program = compile(forward(fused_of(causal)), abstract_key(), x, x, x, x)
            said = sass.usage(max(dump.glob("*.ptx"), key=lambda path: path.stat().st_mtime))
            inside = jax.shard_map(
                fused_of(causal, global_shape=(4, HEADS, length, length)),
                mesh=mesh.abstract_mesh,
                in_specs=(P(), batch, batch, batch),
                out_specs=batch,
                check_vma=False,
            )
            text = _split(compile_split, mesh, gradient(inside), batch, batch, length)
        row = {
            "causal": causal,
            "registers": _number(r"Used (\d+) registers", said),
            "bytes spilled": _number(r"(\d+) bytes spill stores", said),
            "temp MiB": round(program.memory_analysis().temp_size_in_bytes / 2**20, 2),
            "sent inside shard_map": hlo.sent(text),
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def fused_of(causal: bool, global_shape: tuple[int, ...] | None = None) -> Attend:
    """The kernel, of a device's examples inside ``shard_map`` where the whole shape is given."""

    def attend(key: jax.Array, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        first = () if global_shape is None else (jax.lax.axis_index("devices"),)
        return jaxdrop.dot_product_attention(
            q, k, v, is_causal=causal, dropout_rate=RATE, dropout_key=key, implementation="pallas",
            index_offset=first, global_shape=global_shape,
        )  # fmt: skip

    return attend


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    if found is None:
        raise ValueError(f"ptxas did not say {pattern!r}, but: {said}")
    return int(found[1])


def check_fused(rows: Sequence[dict[str, Any]], checks: report.Checks) -> None:
    """Add that the experimental kernel spills no register and sends nothing inside shard_map."""
    for row in rows:
        label = f"attention, experimental kernel{', causal' * row['causal']}"
        spilled, sent = row["bytes spilled"], row["sent inside shard_map"]
        checks.add(
            f"{label}: no register is spilled",
            not spilled,
            f"{spilled} bytes, {row['registers']} registers, temp memory {row['temp MiB']} MiB",
        )
        checks.add(
            f"{label}: with its gradient inside shard_map it sends nothing", not sent, str(sent)
        )
