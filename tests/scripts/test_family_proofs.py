"""What scripts/prove gpu and tpu compile: all of the family, and what they would find."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, SingleDeviceSharding

from scripts.members import RECORDS
from scripts.proofs import hlo, members, report

X = jax.ShapeDtypeStruct((1024, 8), jnp.float32)


def compile_for_cpu(*args: Any, **options: Any) -> Any:
    one = SingleDeviceSharding(jax.devices()[0])
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])
    return members.compiler("cpu", one, mesh)(*args, **options)


def planted_call(training: members.Apply) -> members.Call:
    return members.Call("planted", training, lambda key, x, params: x, X, {}, True)


@functools.cache
def calls() -> list[members.Call]:
    return list(members.calls())


@pytest.mark.slow
def test_every_function_and_layer_is_compiled() -> None:
    names = {c.name.replace("`", "").partition(",")[0] for c in calls()}
    cases = {case.name for record in RECORDS for case in record.cases}
    layers = [layer for record in RECORDS for layer in record.layers]
    linen = {f"Linen {layer.linen_class.__name__}" for layer in layers}
    assert names == cases | linen | {f"NNX {layer.nnx_class.__name__}" for layer in layers}


@pytest.mark.slow
def test_no_two_have_one_name() -> None:
    names = [c.name for c in calls()]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Linen Dropout", "NNX Dropout"])
def test_dropout_keeps_its_promises_on_the_cpu(name: str) -> None:
    (one,) = (c for c in calls() if c.name == name)
    found = members.look(one, "gradient", compile_for_cpu)
    assert found["mask buffers"] == 0 and found["bytes"] < 1
    assert members.sent_over_four(one, compile_for_cpu) == 0


def stores_its_mask(key: jax.Array, x: jax.Array, params: Any) -> jax.Array:
    mask = jax.lax.optimization_barrier(jax.random.bernoulli(key, 0.3, x.shape))
    return jnp.where(mask, x, 0)


def reads_the_batch(key: jax.Array, x: jax.Array, params: Any) -> jax.Array:
    return x - x.mean(0, keepdims=True)


def fails(key: jax.Array, x: jax.Array, params: Any) -> jax.Array:
    raise NotImplementedError("no rule for this device\nand more")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "claim", "found"),
    [
        (stores_its_mask, "no mask in memory where none is promised", "0 of 1; not planted"),
        (reads_the_batch, "no collective over four devices", "0 of 1; not planted"),
        (fails, "compiles", "0 of 1; not planted: NotImplementedError: no rule for this device"),
    ],
)
def test_what_is_wrong_is_found(
    planted: Any, claim: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "calls", lambda: [planted_call(planted)])
    checks = report.Checks()
    rows = members.family(compile_for_cpu, checks)
    wrong = [(row["claim"], row["found"]) for row in checks.rows if not row["holds"]]
    assert [(claim in c, f) for c, f in wrong] == [(True, found)]
    assert "| planted |" in members.markdown(rows)


PROGRAM = """\
%fused (p: f32[8]) -> f32[8] {
  %p = f32[8] parameter(0)
  ROOT %t = f32[8] tanh(%p)
}

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]) parameter(0)
  %x = f32[8] get-tuple-element(%s), index=1
  %f = f32[8] fusion(%x), kind=kLoop, calls=%fused
  ROOT %r = (s32[], f32[8]) tuple(%i, %f)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8] parameter(0)
  %c = s32[] constant(0)
  %start = (f32[8], f32[8]) all-gather-start(%a), dimensions={0}
  %done = f32[8] all-gather-done(%start)
  %gemm = f32[8] custom-call(%done), custom_call_target="__cublas$gemm"
  %w = (s32[], f32[8]) while(%init), condition=%cond, body=%body
  ROOT %f2 = f32[8] fusion(%gemm), kind=kLoop, calls=%fused
}
"""


def test_launches_are_counted() -> None:
    """The loop's fusion, the collective, the product, the last fusion."""
    assert hlo.launches(PROGRAM) == 4
    assert hlo.sent(PROGRAM) == ["all-gather"]
