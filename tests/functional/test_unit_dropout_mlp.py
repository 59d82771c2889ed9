"""unit_dropout_mlp: what is left out is as if it were masked, forward and in every gradient."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop._core import take as take_module
from jaxdrop._functional import unit_chain as module

SIZES, RATE, BATCH = (6, 16, 24, 32, 5), 0.5, 12
CHOICES: tuple[dict[str, Any], ...] = (
    {},
    {"block_size": 4},
    {"block_size": 2, "contiguous": True},
    {"groups": 3},
)


def params(dtype: Any = jnp.float32, biases: bool = True) -> list[dict[str, jax.Array]]:
    layers = []
    for i, (n, m) in enumerate(itertools.pairwise(SIZES)):
        key = jax.random.fold_in(jax.random.key(5), i)
        layers.append({"kernel": (jax.random.normal(key, (n, m)) / n**0.5).astype(dtype)})
        if biases and i != 1:
            layers[-1]["bias"] = jax.random.normal(jax.random.fold_in(key, 1), (m,)).astype(dtype)
    return layers


def batch(dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(6), (BATCH, SIZES[0])).astype(dtype)


def masked(
    key: Any, x: Any, rate: Any, layers: Any, *, product: Any = jnp.matmul,
    activation: Any = jax.nn.relu, groups: int = 1, **choice: Any,
) -> jax.Array:  # fmt: skip
    """The full layers, their hidden units multiplied by n / k or by zero."""
    h = x
    for i, layer in enumerate(layers):
        h = product(h, layer["kernel"])
        if "bias" in layer:
            h = h + jnp.broadcast_to(layer["bias"], h.shape)
        if i == len(layers) - 1:
            return h
        n = h.shape[-1]
        own = rate[i] if isinstance(rate, tuple) else rate
        units = jaxdrop.kept_units(jax.random.fold_in(key, i), n, own, groups=groups, **choice)
        scale = jnp.full(units.shape, n / units.shape[1], h.dtype)
        mask = jnp.zeros((groups, n), h.dtype).at[jnp.arange(groups)[:, None], units].set(scale)
        mask = jnp.repeat(mask, len(h) // groups, axis=0)
        h = activation(h) * jnp.expand_dims(mask, range(1, h.ndim - 1))
    raise AssertionError("no last layer")


def gradients(function: Any, wrap: Callable[[Any], Any] = lambda f: f) -> Any:
    def loss(key: Any, x: Any, layers: Any) -> jax.Array:
        return jnp.sum(jnp.sin(function(key, x, layers).astype(jnp.float32)))

    return jax.jit(jax.value_and_grad(wrap(loss), argnums=(1, 2)))


def both(rate: Any = RATE, **options: Any) -> Iterator[Any]:
    for function in (jaxdrop.unit_dropout_mlp, masked):
        yield lambda key, x, layers, f=function: f(key, x, rate, layers, **options)


def assert_same(
    found: Any, expected: Any, dtype: Any = jnp.float32, terms: int = sum(SIZES)
) -> None:
    """To the rounding of the sums of a whole chain, which are in another order."""
    most = terms * float(jnp.finfo(dtype).eps)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=most * max(1.0, np.abs(b).max()))


KEY = jax.random.key(7)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_it_is_the_masked_network(choice: dict[str, Any]) -> None:
    removed, expected = both(**choice)
    x, layers = batch(), params()
    assert_same(gradients(removed)(KEY, x, layers), gradients(expected)(KEY, x, layers))


def test_rates_and_activations_are_one_for_each_layer() -> None:
    options: dict[str, Any] = {"rate": (0.25, 0.0, 0.75), "activation": jnp.tanh}
    removed, expected = both(**options)
    x, layers = batch(), params(biases=False)
    assert_same(gradients(removed)(KEY, x, layers), gradients(expected)(KEY, x, layers))


def assert_absent_are_zero(grads: Any, layers: Any, choice: dict[str, Any]) -> None:
    """Every gradient is zero where a unit is absent, half of each, and nowhere else."""
    kept = jax.jit(lambda layers: jaxdrop.unit_dropout_mlp_kept(KEY, RATE, layers, **choice))(
        layers
    )
    assert [units.keys() for units in kept] == [layer.keys() for layer in layers]
    for layer, units in zip(grads, kept, strict=True):
        for name, grad in layer.items():
            there = np.ones(grad.shape, bool)
            for axis, at in enumerate(units[name]):
                if at is not None:
                    assert at.size * 2 == grad.shape[axis]
                    absent = np.setdiff1d(np.arange(grad.shape[axis]), np.asarray(at))
                    there[(slice(None),) * axis + (absent,)] = False
            np.testing.assert_array_equal(np.asarray(grad) != 0, there)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES[:3], ids=str)
def test_what_is_left_out_has_a_gradient_of_exactly_zero(choice: dict[str, Any]) -> None:
    layers = params()
    removed = next(both(activation=jnp.cosh, **choice))
    _, (_, grads) = gradients(removed)(KEY, batch(), layers)
    assert_absent_are_zero(grads, layers, choice)


@pytest.mark.slow
def test_remat_and_bfloat16() -> None:
    x, layers = batch(jnp.bfloat16), params(jnp.bfloat16)
    removed, expected = both()
    found = gradients(removed, jax.checkpoint)(KEY, x, layers)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found[1])} == {"bfloat16"}
    assert_same(found, gradients(expected)(KEY, x, layers), jnp.bfloat16)


@pytest.mark.slow
def test_a_map_over_keys_or_models_is_a_loop_over_them() -> None:
    keys = jax.random.split(jax.random.key(8), 2)
    stacked = jax.tree.map(lambda w: jnp.stack([w, 0.5 * w]), params())
    (removed, _), x = both(), batch()
    step = gradients(removed)
    for axes, layers in (((0, None, None), params()), ((None, None, 0), stacked)):
        given = (keys if axes[0] == 0 else KEY, x, layers)
        found = jax.jit(jax.vmap(step, in_axes=axes))(*given)
        for i in range(2):
            one = [
                jax.tree.map(lambda a, i=i: a[i], v) if axis == 0 else v
                for v, axis in zip(given, axes, strict=True)
            ]
            assert_same(jax.tree.map(lambda a, i=i: a[i], found), step(*one))


@pytest.mark.slow
def test_a_scan_over_steps_is_a_loop_over_them() -> None:
    (removed, _), x = both(), batch()

    def step(layers: Any, key: Any) -> Any:
        loss, (_, grads) = gradients(removed)(key, x, layers)
        return jax.tree.map(lambda w, g: w - 0.1 * g, layers, grads), loss

    keys = jax.random.split(jax.random.key(9), 3)
    found, losses = jax.lax.scan(step, params(), keys)
    layers, compiled = params(), jax.jit(step)
    for key, expected in zip(keys, losses, strict=True):
        layers, loss = compiled(layers, key)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert_same(found, layers)


def check_shards(removed: Any, x: Any, layers: Any, same: Callable[[Any, Any], None]) -> None:
    """Each of two shards leaves out units of its own, and the gradient is the sum."""
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("data",), auto, devices=jax.devices()[:2])
    spec, key = jax.sharding.PartitionSpec, jax.random.key(7)

    def local(key: Any, x: Any, layers: Any) -> Any:
        own = jax.random.fold_in(key, jax.lax.axis_index("data"))

        def loss(x: Any, layers: Any) -> Any:
            return jax.lax.psum(jnp.sum(jnp.sin(removed(own, x, layers))), "data")

        return jax.value_and_grad(loss, argnums=(0, 1))(x, layers)

    sharded = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(spec(), spec("data"), spec()),
        out_specs=(spec(), (spec("data"), spec())),
    )
    found = jax.jit(sharded)(key, x, layers)
    losses, grads = [], []
    for i, part in enumerate(jnp.split(x, 2)):
        loss, grad = gradients(removed)(jax.random.fold_in(key, i), part, layers)
        losses.append(loss)
        grads.append(grad)
    same(found[0], losses[0] + losses[1])
    same(found[1][0], jnp.concatenate([grads[0][0], grads[1][0]]))
    same(found[1][1], jax.tree.map(jnp.add, grads[0][1], grads[1][1]))


@pytest.mark.slow
def test_each_shard_has_its_own_units_and_the_gradient_is_the_sum() -> None:
    (removed, _), x, layers = both(), batch(), params()
    check_shards(removed, x, layers, assert_same)


@pytest.mark.slow
def test_forward_mode_and_second_derivatives() -> None:
    (removed, expected), x, layers = both(activation=jnp.tanh), batch(), params()

    def along(function: Any, wrap: Any) -> Any:
        def scalar(w: Any) -> Any:
            changed = [*layers[:1], {**layers[1], "kernel": w}, *layers[2:]]
            return jnp.sum(function(KEY, x, changed) ** 2)

        w = layers[1]["kernel"]
        return jax.jit(wrap(lambda w: jax.jvp(scalar, (w,), (jnp.ones_like(w),))[1]))(w)

    for wrap in (lambda f: f, jax.grad):
        a, b = along(removed, wrap), along(expected, wrap)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


def test_test_time_is_the_full_network() -> None:
    x, layers = np.asarray(batch()), params()
    for options in ({"rate": RATE, "deterministic": True}, {"rate": 0.0}):
        full = jax.jit(
            lambda x, layers, o=options: jaxdrop.unit_dropout_mlp(None, x, layers=layers, **o)
        )
        h: Any = x
        for i, layer in enumerate(layers):
            h = h @ np.asarray(layer["kernel"]) + np.asarray(layer.get("bias", np.zeros(1)))
            h = np.maximum(h, 0) if i < len(layers) - 1 else h
        assert_same(full(x, layers), h)


@pytest.mark.slow
def test_other_dimensions_of_the_batch() -> None:
    x, layers = batch().reshape(4, 3, -1), params()
    removed = jax.jit(next(both(groups=4)))
    flat = removed(KEY, x.reshape(12, -1), layers)
    assert_same(removed(KEY, x, layers), flat.reshape(4, 3, -1))


def asked_share(h: jax.Array, factor: float) -> jax.Array:
    """The scale of the asked rate, not of the share that is kept."""
    return h / (1 - 0.45)


def forgotten_rows(array: jax.Array, units: Any, axis: int) -> jax.Array:
    """The rows of the first k units, whichever were kept."""
    if units is None:
        return array
    return take_module.take(array, jnp.arange(units.shape[0]) if axis == 0 else units, axis)


@pytest.mark.slow
@pytest.mark.parametrize("name, fault", [("scaled", asked_share), ("_take", forgotten_rows)])
def test_a_planted_fault_is_caught(name: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    removed, expected = both(rate=0.45)
    x, layers = batch(), params(biases=False)
    truth = jax.jit(expected)(KEY, x, layers)
    assert_same(jax.jit(removed)(KEY, x, layers), truth)
    monkeypatch.setattr(module, name, fault)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same(jax.jit(lambda *a: removed(*a))(KEY, x, layers), truth)


@pytest.mark.slow
def test_bad_arguments_are_told_in_a_sentence() -> None:
    x, layers = batch(), params()
    call = jaxdrop.unit_dropout_mlp
    with pytest.raises(TypeError, match="unit_dropout_mlp takes a Python number"):
        jax.jit(lambda rate: call(KEY, x, rate, layers))(0.5)
    with pytest.raises(TypeError, match="got deterministic=.* expected True or False"):
        jax.jit(lambda mode: call(KEY, x, 0.5, layers, deterministic=mode))(True)
    with pytest.raises(ValueError, match=r"^got rate=1\.0, which keeps none of 16 block"):
        call(KEY, x, 1.0, layers)
    with pytest.raises(ValueError, match=r"^got n=24 and block_size=16, expected a multiple"):
        call(KEY, x, 0.5, layers, block_size=16)
    with pytest.raises(ValueError, match=r"^got groups=5 for a batch of 12, expected a divisor"):
        call(KEY, x, 0.5, layers, groups=5)
    with pytest.raises(ValueError, match=r"^got 2 rates for 3 hidden layers, expected one for"):
        call(KEY, x, (0.5, 0.5), layers)
    with pytest.raises(ValueError, match="unit_dropout_mlp needs a random key and got None"):
        call(None, x, 0.5, layers)
    with pytest.raises(ValueError, match=r"got x of shape \(12, 6\) and a first kernel of shape"):
        call(KEY, x, 0.5, layers[1:])
    with pytest.raises(ValueError, match="^got 1 layers, expected two or more"):
        call(KEY, x, 0.5, layers[:1])
    with pytest.raises(TypeError, match=r"(?s)^got layers\[1\]=.* expected a dict"):
        call(KEY, x, 0.5, [layers[0], jnp.ones((16, 5))])  # type: ignore[list-item]  # on purpose
    with pytest.raises(ValueError, match=r"^got layers\[0\] with \['scale'\], expected a dict"):
        call(KEY, x, 0.5, [{"scale": x}, *layers])
    with pytest.raises(ValueError, match="expected as many inputs as the layer before has outputs"):
        call(KEY, x, 0.5, [layers[0], layers[2]])
    with pytest.raises(ValueError, match=r"^got layers\[0\] of shapes \(\(6, 16\), \(3,\)\)"):
        call(KEY, x, 0.5, [{**layers[0], "bias": jnp.ones(3)}, *layers[1:]])
    with pytest.raises(ValueError, match=r"^got units=\[0, 0\], expected different ones from 0"):
        jaxdrop.take_units(x, np.array([0, 0]))
    with pytest.raises(
        ValueError, match=r"^got units=\[12\], expected different ones from 0 to 11"
    ):
        jaxdrop.take_units(x, np.array([12]))
