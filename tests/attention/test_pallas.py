"""implementation="pallas", interpreted: mask, outputs, gradients, and what is refused."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# jax.experimental.pallas.mosaic_gpu exports it since 0.12.
from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

import jaxdrop._attention.pallas  # it is imported when it is used
from jaxdrop import attention_keep_mask, dot_product_attention
from tests.attention.cases import KEY

PALLAS = jaxdrop._attention.pallas
RATE = 0.3
FAR: dict[str, Any] = {"index_offset": (3, 5, 192, 128), "global_shape": (8, 7, 70000, 70016)}


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = functools.partial(PALLAS.pallas, interpret=InterpretGPUParams())
    monkeypatch.setattr(PALLAS, "pallas", on_cpu)


def attend(*arrays: jax.Array, rate: Any = RATE, way: Any = "pallas", **options: Any) -> jax.Array:
    return dot_product_attention(
        *arrays, dropout_rate=rate, dropout_key=KEY, implementation=way, **options
    )


def drawn(**place: Any) -> jax.Array:
    """The mask that was used, [1, 2, 64, 128]: every key gets a value of its own to be seen in."""
    q, k = (jnp.zeros((1, n, 2, 128), jnp.bfloat16) for n in (64, 128))
    v = jnp.broadcast_to(jnp.eye(128, dtype=jnp.bfloat16)[None, :, None], k.shape)
    return jnp.swapaxes(attend(q, k, v, **place), 1, 2) != 0


def normal(length: int, heads: int, size: int, dtype: Any, seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (1, length, heads, size)).astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("place", [{}, FAR], ids=["whole", "part of more than 2**32"])
def test_the_mask_is_attention_keep_mask(interpreted: None, place: dict[str, Any]) -> None:
    expected = attention_keep_mask(KEY, (1, 2, 64, 128), RATE, **place)
    np.testing.assert_array_equal(drawn(**place), expected)


def test_an_index_that_is_off_by_one_is_found(
    interpreted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_key_on(shape: Any, offset: Any, whole: Any) -> Any:
        return real(shape, (offset[0], offset[1] + 1), whole)

    real = PALLAS.block_layout
    monkeypatch.setattr(PALLAS, "block_layout", one_key_on)
    expected = attention_keep_mask(KEY, (1, 2, 64, 128), RATE)
    assert (drawn() != expected).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "heads", "dtype", "options"),
    [
        (128, (1, 1), "bfloat16", {"is_causal": True, "scale": 0.3}),
        (64, (2, 1), "float16", {"is_causal": True, **FAR, "index_offset": (3, 5, 128, 128)}),
    ],
    ids=["causal", "a causal part, grouped"],
)
def test_outputs_and_gradients_are_those_of_the_reference(
    interpreted: None, length: int, heads: Any, dtype: str, options: dict[str, Any]
) -> None:
    """Weights, values and results are rounded to 8 or 11 bits; so are those of the gradient."""
    q = normal(length, heads[0], 64, dtype, 0)
    k, v = (normal(128, heads[1], 64, dtype, seed) for seed in (1, 2))

    def loss(way: str, *arrays: jax.Array) -> Any:
        y = attend(*arrays, way=way, **options)
        return jnp.sum(jnp.sin(y.astype(jnp.float32))), y

    gradient = jax.value_and_grad(loss, argnums=(1, 2, 3), has_aux=True)
    both = jax.jit(gradient, static_argnums=0)
    (_, y), found = both("pallas", q, k, v)
    (_, expected), slopes = both("reference", *(a.astype(jnp.float32) for a in (q, k, v)))
    bits = 2**-7 if dtype == "bfloat16" else 2**-10
    size = float(jnp.abs(v).max()) / (1 - RATE)  # of a mean of values
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=0, atol=2 * bits * size)
    for a, b in zip(found, slopes, strict=True):
        error = a.astype(jnp.float32) - b
        assert jnp.linalg.norm(error) <= 2 * bits * jnp.linalg.norm(b)
    assert y.dtype == dtype and float(jnp.abs(expected).max()) > 20 * bits  # not all of it is 0


def test_a_traced_rate_of_one_is_zero(interpreted: None) -> None:
    x = normal(64, 1, 64, "bfloat16", 0)
    assert not attend(x, x, x, rate=jnp.float32(1.0)).any()


def test_test_time_is_jax_s_own() -> None:
    x = normal(5, 1, 8, "float32", 0)
    expected = jax.nn.dot_product_attention(x, x, x)
    np.testing.assert_array_equal(attend(x, x, x, deterministic=True), expected)


def test_what_it_does_not_take_is_told_in_a_sentence(interpreted: None) -> None:
    def zeros(length: int = 64, size: int = 64, dtype: Any = "bfloat16") -> jax.Array:
        return jnp.zeros((1, length, 2, size), dtype)

    plain = dict.fromkeys(("query", "key", "value"), zeros())
    for given, said in (
        (dict.fromkeys(plain, zeros(dtype="float32")), "arrays of dtype float32, no bfloat16"),
        (dict.fromkeys(plain, zeros(size=32)), "heads of 32 numbers, not of 64 or 128"),
        ({"query": zeros(63)}, "63 queries, no multiple of 64"),
        ({"key": zeros(65), "value": zeros(65)}, "65 keys, no multiple of 64"),
        (dict.fromkeys(plain, zeros(0)), "arrays without elements"),
        ({"global_shape": (2**24, 2, 64, 64)}, "2\\*\\*31 rows of weights or more"),
        ({"bias": jnp.zeros((1, 1, 64, 64))}, "a bias"),
        ({"mask": jnp.ones((1, 1, 64, 64), bool)}, "a mask"),
        ({"key_value_seq_lengths": jnp.array([3])}, "lengths"),
        ({"local_window_size": 3}, "a window"),
        ({"dropout_on": "keys"}, "dropout_on='keys'"),
        ({"broadcast_dropout_dims": (1,)}, "broadcast_dropout_dims"),
        ({"dropout_rate": np.array([0.1, 0.2]).reshape(1, 2, 1, 1)}, "a rate for each head"),
    ):
        arguments: dict[str, Any] = {**plain, "dropout_rate": RATE, **given}
        with pytest.raises(ValueError, match=f"pallas' with {said}.*, which its kernel does not"):
            dot_product_attention(**arguments, dropout_key=KEY, implementation="pallas")


def test_arrays_that_are_split_are_refused(interpreted: None) -> None:
    x = normal(64, 2, 64, "bfloat16", 0)
    mesh = jax.make_mesh((2,), ("heads",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(x, jax.NamedSharding(mesh, jax.P(None, None, "heads")))
        with pytest.raises(ValueError, match="mesh axes of type Explicit split"):
            attend(x, x, x)


def test_shard_map_with_its_check_is_refused(interpreted: None) -> None:
    """What comes out of a kernel would say that it is the same on every device."""
    x = normal(64, 2, 64, "bfloat16", 0)
    mesh = jax.make_mesh((2,), ("heads",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.P(None, None, "heads")
    inside = jax.shard_map(attend, mesh=mesh, in_specs=(split,) * 3, out_specs=split)
    with pytest.raises(ValueError, match="a shard_map that has check_vma=True"):
        inside(x, x, x)


def test_without_its_gpu_it_is_refused() -> None:
    x = normal(64, 1, 64, "bfloat16", 0)
    with pytest.raises(ValueError, match="on a device of kind .*, expected a GPU of compute"):
        attend(x, x, x)
