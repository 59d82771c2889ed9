"""default_mesh_axes: a model that says nothing of meshes has its masks inside shard_map."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.linen

KEY = jax.random.key(3)


def mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


class Model(nn.Module):
    """Tensor parallelism by hand: heads and hidden units over "model", the rest held by all."""

    @nn.compact
    def __call__(self, x: jax.Array, params: Any, reduce: Any = lambda y: y) -> jax.Array:
        q = jnp.einsum("btf,fnh->btnh", x, params["q"])
        y = jaxdrop.dot_product_attention(
            q, q, q, is_causal=True, dropout_rate=0.5, dropout_key=self.make_rng("dropout")
        )
        x = x + reduce(y.sum((2, 3))[..., None])
        x = jaxdrop.linen.Dropout(0.5, deterministic=False)(x)
        h = jnp.tanh(x @ params["up"])
        h = jaxdrop.linen.Dropout(0.5, deterministic=False)(h)
        x = x + jaxdrop.linen.DropPath(0.5, deterministic=False)(reduce(h @ params["down"]))
        return jaxdrop.linen.SpatialDropout(0.5, deterministic=False)(x)


def loss_and_gradient(x: Any, params: Any, reduce: Any, everywhere: Any) -> Any:
    def loss(params: Any) -> Any:
        rngs = {"dropout": jax.random.clone(KEY)}
        y: Any = Model().apply({}, x, params, reduce, rngs=rngs)
        return everywhere((y**2).sum()), y

    (_, y), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return y, gradient


@pytest.mark.slow
def test_a_model_has_the_masks_that_it_has_on_one_device() -> None:
    draw = np.random.RandomState(0).normal
    x = draw(size=(8, 5, 6)).astype(np.float32)
    params = {"q": draw(size=(6, 4, 3)), "up": draw(size=(6, 8)), "down": draw(size=(8, 6)) / 8}
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    specs = {"q": P(None, "model"), "up": P(None, "model"), "down": P("model")}

    def shard(x: jax.Array, params: Any) -> Any:
        return loss_and_gradient(
            x, params, lambda y: jax.lax.psum(y, "model"), lambda s: jax.lax.psum(s, "data")
        )

    @jax.jit
    def both(x: jax.Array, params: Any) -> Any:
        split = jax.shard_map(
            shard, mesh=mesh(), in_specs=(P("data"), specs), out_specs=(P("data"), specs)
        )
        with jaxdrop.default_mesh_axes(("data", ..., "model")):
            sharded = split(x, params)
        return sharded, loss_and_gradient(x, params, lambda y: y, lambda s: s)

    got, want = both(x, params)
    zeros = (np.asarray(got[0]) == 0, np.asarray(want[0]) == 0)
    np.testing.assert_array_equal(*zeros)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), got, want)


def test_a_compiled_function_is_traced_again_for_another_default() -> None:
    x = jnp.ones((8, 6))
    whole = jaxdrop.dropout(jax.random.clone(KEY), x, 0.5)
    rows = jax.jit(
        jax.shard_map(
            lambda x: jaxdrop.dropout(jax.random.clone(KEY), x, 0.5),
            mesh=mesh(), in_specs=P("data", "model"), out_specs=P("data", "model"),
        )
    )  # fmt: skip
    alike = rows(x)
    assert (alike[:2] == alike[2:4]).all() and not (alike == whole).all()
    with jaxdrop.default_mesh_axes(("data", ..., "model")):
        np.testing.assert_array_equal(rows(x), whole)
    with jaxdrop.default_mesh_axes(("data", "model")):
        np.testing.assert_array_equal(rows(x), whole)
    np.testing.assert_array_equal(rows(x), alike)
    with jaxdrop.default_mesh_axes(("data", ..., "model")):
        assert (jaxdrop.dropout(jax.random.clone(KEY), x, 0.5) == whole).all()  # no shard_map


def trace(function: Any, spec: Any, default: Any, **options: Any) -> None:
    """Nothing is compiled."""
    split = jax.shard_map(function, mesh=mesh(), in_specs=spec, out_specs=spec, **options)
    with jaxdrop.default_mesh_axes(default):
        jax.eval_shape(split, jnp.ones((8, 8)))


def drop(x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(jax.random.clone(KEY), x, 0.5)


def weights(x: jax.Array) -> jax.Array:
    return jaxdrop.drop_connect(jax.random.clone(KEY), x, 0.5)


def tree(x: jax.Array) -> jax.Array:
    return jaxdrop.weight_drop(jax.random.clone(KEY), x, 0.5)


def test_what_cannot_be_known_is_told() -> None:
    both = P("data", "model")
    with pytest.raises(ValueError, match="differs over the mesh axis 'model'"):
        trace(drop, both, ("data", ...))
    with pytest.raises(ValueError, match=r"got 'dta' in default_mesh_axes inside shard_map over"):
        trace(drop, both, ("dta", ...))
    with pytest.raises(ValueError, match=r"check_vma=False.* give mesh_axes to each call"):
        trace(drop, both, ("data", ...), check_vma=False)
    for function in (weights, tree):
        with pytest.raises(ValueError, match="differs over the mesh axis 'model'"):
            trace(function, P(None, "model"), ("data", ..., "model"))
        trace(function, P(), ("data", ..., "model"))  # held by all
    with pytest.raises(ValueError, match=r"got \.\.\. twice"):
        jaxdrop.default_mesh_axes((..., "data", ...))


def test_what_a_call_says_itself_counts() -> None:
    def here(x: jax.Array) -> jax.Array:
        at = jax.lax.axis_index("data") * 2
        options: Any = {"index_offset": (at,), "global_shape": (8, 8)}
        one = jaxdrop.dropout(jax.random.clone(KEY), x, 0.5, **options)
        return one - jaxdrop.dropout(jax.random.clone(KEY), x, 0.5, mesh_axes=("data",))

    split = jax.shard_map(here, mesh=mesh(), in_specs=P("data"), out_specs=P("data"))
    with jaxdrop.default_mesh_axes((..., "data")):
        assert not jax.jit(split)(jnp.ones((8, 8))).any()


def test_a_call_with_a_position_does_not_look_at_the_default() -> None:
    def here(x: jax.Array) -> jax.Array:
        at: Any = jax.lax.axis_index("data") * 2, jax.lax.axis_index("model") * 4
        y = jaxdrop.dropout(jax.random.clone(KEY), x, 0.5, index_offset=at, global_shape=(8, 8))
        y += jaxdrop.drop_connect_dense(
            jax.random.clone(KEY), y, 0.5, jnp.eye(4), per_example=True, index_offset=at[:1]
        )
        head: Any = {"index_offset": (0, at[1]), "global_shape": (1, 8, 2, 2)}
        q = y[..., None]
        return jaxdrop.dot_product_attention(
            q, q, q, dropout_rate=0.5, dropout_key=jax.random.clone(KEY), **head
        )[..., 0]

    both = P("data", "model")
    trace(here, both, ("data", ...))  # which would have to name "model", too
    trace(here, both, ("data", ...), check_vma=False)
