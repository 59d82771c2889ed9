"""Attention on meshes and in shard_map: the same mask, no collective; memory linear in length."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.attention.cases import (
    KEYS,
    N,
    Q,
    V,
    ours,
)


@pytest.mark.slow
def test_memory_is_linear_and_no_mask_is_held() -> None:
    """Doubling both lengths doubles the plan; the weights alone would be 4 times as large."""

    def planned(length: int, rate: float) -> tuple[int, str]:
        x = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)

        def loss(q: Any, k: Any, v: Any) -> jax.Array:
            return jnp.sum(ours(q, k, v, rate=rate, implementation="blockwise"))

        program = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile()
        memory = program.memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes, str(program.as_text())

    short, _ = planned(1024, 0.1)
    long, text = planned(2048, 0.1)
    plain, _ = planned(2048, 0.0)
    assert long < 2.2 * short and long < 1.3 * plain
    assert "2048,2048" not in text  # of which type ever


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["data", "heads", "both"])
@pytest.mark.parametrize("axis_type", list(jax.sharding.AxisType)[:2])
def test_any_sharding_draws_the_same_mask(spec: str, axis_type: Any) -> None:
    mesh = jax.make_mesh((2, 2), ("data", "heads"), axis_types=(axis_type,) * 2)
    parts = {
        "data": jax.P("data"),
        "heads": jax.P(None, None, "heads"),
        "both": jax.P("data", None, "heads"),
    }
    expected = ours(Q, KEYS, V, rate=0.5, block_kv=16)
    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, jax.NamedSharding(mesh, parts[spec])) for a in (Q, KEYS, V)]

        @jax.jit
        def attend(q: Any, k: Any, v: Any) -> jax.Array:
            return ours(q, k, v, rate=0.5, block_kv=16)

        program = attend.lower(*placed).compile()
        np.testing.assert_allclose(program(*placed), expected, atol=5e-6)
    text = str(program.as_text())
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert f" {collective}" not in text, collective


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", list(jax.sharding.AxisType)[:2])
def test_queries_that_are_split_stay_where_they_are(axis_type: Any) -> None:
    """In one tile: on Explicit axes whatever block_q says, on Auto axes by it."""
    rows = 20 if axis_type is jax.sharding.AxisType.Auto else 8
    q = Q[:, :20]
    expected = ours(q, KEYS, V, rate=0.5, is_causal=True)
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        split = jax.device_put(q, jax.NamedSharding(mesh, jax.P(None, "rows")))
        k, v = (jax.device_put(a, jax.NamedSharding(mesh, jax.P())) for a in (KEYS, V))

        @jax.jit
        def attend(q: Any, k: Any, v: Any) -> jax.Array:
            return ours(q, k, v, rate=0.5, is_causal=True, block_q=rows, block_kv=16)

        program = attend.lower(split, k, v).compile()
        np.testing.assert_allclose(program(split, k, v), expected, atol=5e-6)
    assert "all-gather" not in str(program.as_text())
    assert "all-reduce" not in str(program.as_text())


@pytest.mark.slow
@pytest.mark.parametrize("check_vma", [True, False])
def test_inside_shard_map_a_shard_draws_its_own_part(check_vma: bool) -> None:
    """Batch over one axis and queries over the other, causal; gradients too."""
    mesh = jax.make_mesh((2, 2), ("data", "rows"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    q, k, v = Q[:, :20], KEYS[:, :20], V[:, :20]

    def shard(q: Any, k: Any, v: Any) -> jax.Array:
        offset = (jax.lax.axis_index("data"), 0, jax.lax.axis_index("rows") * 10, 0)
        return ours(
            q, k, v, rate=0.5, is_causal=True, block_q=4, block_kv=8,
            index_offset=offset, global_shape=(2, N, 20, 20),
        )  # fmt: skip

    inside = jax.shard_map(
        shard, mesh=mesh, in_specs=(jax.P("data", "rows"), jax.P("data"), jax.P("data")),
        out_specs=jax.P("data", "rows"), check_vma=check_vma,
    )  # fmt: skip

    def whole(q: Any, k: Any, v: Any) -> jax.Array:
        return ours(q, k, v, rate=0.5, is_causal=True)

    np.testing.assert_allclose(jax.jit(inside)(q, k, v), whole(q, k, v), atol=5e-6)
    gradients = [
        jax.jit(jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1, 2)))(q, k, v)
        for f in (inside, whole)
    ]
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-5)
