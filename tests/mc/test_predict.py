"""mc_predict: one trace, the same samples however they are computed, in memory flat in T."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop import mc
from jaxdrop.mc._predict import _predict
from jaxdrop.mc._sampling_plan import Plan

W = np.random.RandomState(0).standard_normal((2, 12, 12)).astype(np.float32)
X = np.random.RandomState(1).standard_normal((8, 12)).astype(np.float32)


def key() -> jax.Array:
    """The same key, made again each time, so that its reuse counts as intended."""
    return jax.random.key(5)


def network(key: Any, x: Any) -> jax.Array:
    x = jnp.tanh(x @ W[0])
    return jaxdrop.dropout(key, x, 0.4) @ W[1]


def loop(count: int) -> np.ndarray:
    keys = [jax.random.fold_in(key(), np.uint32(t)) for t in range(count)]
    return np.stack([network(k, X) for k in keys])


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 1, 5, 12])
def test_chunks_do_not_move_a_sample(chunk_size: int | None) -> None:
    samples = mc.mc_predict(network, key(), X, 12, chunk_size=chunk_size)
    np.testing.assert_allclose(samples, loop(12), rtol=1e-5, atol=1e-5)
    zeros = np.asarray(mc.mc_predict(mask, key(), X, 12, chunk_size=chunk_size))
    np.testing.assert_array_equal(zeros, np.asarray(mc.mc_predict(mask, key(), X, 20))[:12])


def mask(key: Any, x: Any) -> jax.Array:
    return jaxdrop.keep_mask(key, x.shape, 0.4).astype(jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_the_function_is_traced_once_and_compiled_once(chunk_size: int | None) -> None:
    traces = []

    def counted(key: Any, x: Any) -> jax.Array:
        traces.append(x.shape)
        return network(key, x)

    for seed in range(3):
        mc.mc_predict(counted, jax.random.key(seed), X, 10, chunk_size=chunk_size)
    assert traces == [X.shape]


@pytest.mark.slow
def test_a_sampler_with_other_parameters_costs_no_compilation() -> None:
    jitted: Any = _predict
    model = nn.Sequential([nn.Dense(4), nn.Dropout(0.5, deterministic=True)])
    first = model.init(jax.random.key(0), X)
    second = jax.tree.map(lambda a: a + 1, first)
    a = mc.mc_predict(mc.sampler(model, first), key(), X, 2)
    compiled = jitted._cache_size()
    b = mc.mc_predict(mc.sampler(model, second), key(), X, 2)
    assert jitted._cache_size() == compiled
    assert not np.allclose(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("rows", [None, "data", "samples", ("samples", "data")])
def test_a_mesh_moves_no_sample(axis_type: AxisType, rows: Any) -> None:
    mesh = jax.make_mesh((4, 2), ("samples", "data"), axis_types=(axis_type,) * 2)
    x = jax.device_put(X, NamedSharding(mesh, PartitionSpec(rows)))
    over = NamedSharding(mesh, PartitionSpec("samples"))
    for function, tolerance in ((mask, 0), (network, 1e-5)):
        expected = mc.mc_predict(function, key(), X, 24)
        samples = mc.mc_predict(function, key(), x, 24, chunk_size=4, sharding=over)
        np.testing.assert_allclose(np.asarray(samples), expected, atol=tolerance, rtol=tolerance)
        assert samples.sharding.spec[0] == "samples"
        held = {(shard.index[0].start, shard.index[0].stop) for shard in samples.addressable_shards}
        assert held == {(6 * i, 6 * i + 6) for i in range(4)}


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("set_mesh", [False, True])
def test_samples_over_two_axes_of_a_mesh(axis_type: AxisType, set_mesh: bool) -> None:
    mesh = jax.make_mesh((2, 2, 2), ("a", "b", "data"), axis_types=(axis_type,) * 3)
    over = NamedSharding(mesh, PartitionSpec(("a", "b")))
    for function, tolerance in ((mask, 0), (network, 1e-5)):
        expected = mc.mc_predict(function, key(), X, 12), *mc.mc_moments(function, key(), X, 12)
        x = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data", "b")))
        with jax.set_mesh(mesh) if set_mesh else contextlib.nullcontext():
            samples = mc.mc_predict(function, key(), x, 12, sharding=over)
            moments = mc.mc_moments(function, key(), x, 12, chunk_size=2, sharding=over)
        np.testing.assert_allclose(np.asarray(samples), expected[0], atol=tolerance, rtol=tolerance)
        for result, same in zip(moments, expected[1:], strict=True):
            np.testing.assert_allclose(np.asarray(result), same, atol=1e-5)


@pytest.mark.slow
def test_no_device_talks_to_another() -> None:
    mesh = jax.make_mesh((8,), ("samples",), axis_types=(AxisType.Auto,))
    plan = Plan(16, 2, False, NamedSharding(mesh, PartitionSpec("samples")))
    program = _predict.lower(jax.tree_util.Partial(network), key(), X, plan).compile().as_text()
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert program is not None and word not in program


def temporary_bytes(num_samples: int, chunk_size: int) -> int:
    plan = Plan(num_samples, chunk_size, False, None)
    wide = np.zeros((64, 12), np.float32)
    lowered = _predict.lower(jax.tree_util.Partial(summary), key(), wide, plan)
    memory = lowered.compile().memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def summary(key: Any, x: Any) -> jax.Array:
    return network(key, x).mean()


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_samples() -> None:
    few, many = temporary_bytes(100, 10), temporary_bytes(10_000, 10)
    kept = 4 * (10_000 - 100)  # the results themselves, while they are put in order
    assert many - few <= 2 * kept
    assert temporary_bytes(1_000, 1_000) > 20 * few  # without chunks it grows


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_shared_masks_are_the_same_for_every_example_and_batch(chunk_size: int | None) -> None:
    def masks(x: Any) -> np.ndarray:
        return np.asarray(mc.mc_predict(mask, key(), x, 5, chunk_size=chunk_size, share_masks=True))

    whole = masks(X)
    np.testing.assert_array_equal(whole, np.broadcast_to(whole[:, :1], whole.shape))
    np.testing.assert_array_equal(masks(X[3:4]), whole[:, 3:4])
    assert len({m.tobytes() for m in whole[:, 0]}) == 5  # samples differ
    plain = np.asarray(mc.mc_predict(mask, key(), X, 5))
    assert (plain != plain[:, :1]).any()  # which the check of equality would notice


@pytest.mark.slow
def test_a_tree_goes_in_and_comes_out() -> None:
    def two(key: Any, x: Any) -> Any:
        return {"a": network(key, x["l"] + x["r"]), "b": (x["l"].sum(-1),)}

    out = mc.mc_predict(two, key(), {"l": X, "r": X}, 4, share_masks=True)
    assert out["a"].shape == (4, 8, 12) and out["b"][0].shape == (4, 8)


@pytest.mark.slow
def test_it_can_be_jitted_vmapped_and_differentiated() -> None:
    def spread(x: Any, key: Any) -> jax.Array:
        return mc.mc_predict(network, key, x, 6, chunk_size=4).std(0).sum()

    plain = spread(X, key())
    np.testing.assert_allclose(jax.jit(spread)(X, key()), plain, rtol=1e-5)
    both = jax.vmap(spread, in_axes=(0, None))(jnp.stack([X, 2 * X]), key())
    np.testing.assert_allclose(both[0], plain, rtol=1e-5)
    assert np.isfinite(jax.grad(spread)(X, key())).all()


@pytest.mark.parametrize(
    "model",
    [
        nnx.Sequential(nnx.Linear(12, 3, rngs=nnx.Rngs(0))),
        nnx.Sequential(nnx.Linear(12, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.0, rngs=nnx.Rngs(0))),
        nn.Dense(3).bind({"params": {"kernel": np.ones((12, 3)), "bias": np.zeros(3)}}),
        lambda key, x: x * 2,
    ],
    ids=["nnx", "rate 0", "linen", "function"],
)
def test_a_model_without_dropout_gets_a_warning(model: Any) -> None:
    with pytest.warns(UserWarning, match="so that every sample is the same"):
        samples = mc.mc_predict(model, key(), X, 3)
    assert (np.asarray(samples) == np.asarray(samples)[:1]).all()


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"num_samples": 0}, ValueError, "got num_samples=0, expected a whole number of at least"),
        ({"num_samples": -3}, ValueError, "got num_samples=-3"),
        ({"num_samples": 2.5}, TypeError, "got num_samples=2.5"),
        ({"num_samples": True}, TypeError, "got num_samples=True"),
        ({"chunk_size": 0}, ValueError, "got chunk_size=0"),
        ({"key": None}, ValueError, "mc_predict needs a random key and got None"),
        ({"key": 3}, TypeError, r"here jax.random.key\(3\)"),
        ({"apply_fn": 3}, TypeError, "got apply_fn of type int, expected a function"),
        ({"apply_fn": nn.Dense(3)}, TypeError, "got Dense without variables"),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(
    change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    given: dict[str, Any] = {"apply_fn": network, "key": key(), "x": X, "num_samples": 2} | change
    with pytest.raises(error, match=sentence):
        mc.mc_predict(**given)


def test_devices_that_cannot_share_the_samples_are_errors() -> None:
    mesh = jax.make_mesh((8,), ("samples",), axis_types=(AxisType.Auto,))
    over = NamedSharding(mesh, PartitionSpec("samples"))
    with pytest.raises(ValueError, match="which 8 devices do not share evenly; draw 16"):
        mc.mc_predict(network, key(), X, 10, sharding=over)
    with pytest.raises(ValueError, match="expected that of the samples alone"):
        mc.mc_predict(network, key(), X, 8, sharding=NamedSharding(mesh, PartitionSpec()))
