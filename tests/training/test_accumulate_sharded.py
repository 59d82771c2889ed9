"""make_train_step(accumulate=k) with masks that know the mesh: shard_map in a loss, or around."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training import _batch_windows
from tests.training.test_accumulate import CLOSE, DRAWS, KEY, ROWS, X, compare, rows_of, state_of

pytestmark = pytest.mark.slow

Draw = Callable[[jax.Array, jax.Array], jax.Array]
MESH = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def split(draw: Draw, spec: P, **options: Any) -> Draw:
    return jax.shard_map(draw, mesh=MESH, in_specs=(P(), spec), out_specs=spec, **options)


def layers(key: jax.Array, x: jax.Array, **axes: Any) -> jax.Array:
    """Three layers in a scan, checkpointed."""

    def one(x: jax.Array, i: jax.Array) -> Any:
        drop = lambda x: jaxdrop.dropout(jax.random.fold_in(key, i), x, 0.2, **axes)  # noqa: E731
        return jax.checkpoint(drop)(jnp.sin(x)), None

    return jax.lax.scan(one, x, jnp.arange(3))[0]


def time_first(key: jax.Array, x: jax.Array, **axes: Any) -> jax.Array:
    return jnp.swapaxes(jaxdrop.dropout(key, jnp.swapaxes(x, 0, 1), 0.5, **axes), 0, 1)


def of_weights(key: jax.Array, x: jax.Array, **axes: Any) -> jax.Array:
    w = jnp.eye(6) + 0 * x[0, 0, 0]
    return x @ jaxdrop.drop_connect(key, w, 0.5)


ROW, BOTH, UNITS = P("data"), P("data", None, "model"), P(None, None, "model")
CASES: dict[str, tuple[Callable[..., jax.Array], P, Any]] = {
    "rows": (functools.partial(jaxdrop.dropout, rate=0.5), ROW, ("data",)),
    "rows over both": (functools.partial(jaxdrop.dropout, rate=0.5), P(("data", "model")), None),
    "rows and units": (functools.partial(jaxdrop.dropout, rate=0.5), BOTH, ("data", None, "model")),
    "units": (functools.partial(jaxdrop.dropout, rate=0.5), UNITS, (None, None, "model")),
    "a shared mask": (
        functools.partial(jaxdrop.dropout, rate=0.5, broadcast_dims=(1,)), BOTH, tuple(BOTH)
    ),
    "paths": (functools.partial(jaxdrop.drop_path, rate=0.5), ROW, ("data",)),
    "gaussian": (functools.partial(jaxdrop.gaussian_dropout, rate=0.5), BOTH, tuple(BOTH)),
    "a mask": (
        lambda key, x, **axes: jaxdrop.keep_mask(key, x.shape, 0.5, **axes), BOTH, tuple(BOTH)
    ),
    "layers": (layers, BOTH, tuple(BOTH)),
    "time first": (time_first, ROW, (None, "data")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_microbatch_has_its_rows_of_the_mask_on_every_device(name: str) -> None:
    member, spec, axes = CASES[name]
    axes = tuple(spec) if axes is None else axes
    draw = split(functools.partial(member, mesh_axes=axes), spec)
    whole = rows_of(member, 1)  # on one device, without a word of a mesh
    assert (whole == 0).any() or name == "gaussian"
    for parts in (1, 2) if name == "rows over both" else (1, 2, 4):
        compare(name, rows_of(draw, parts), whole)


NO_DEFAULT = {  # which ask for mesh_axes of their own, or for keys of each row's number
    "keep_mask", "bits of the key", "loops", "keys of rows", "flax"
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DRAWS if name not in NO_DEFAULT])
def test_a_default_for_the_whole_model_counts_too(name: str) -> None:
    with jaxdrop.default_mesh_axes(("data", ...)):
        several = rows_of(split(DRAWS[name], ROW), 2)
    compare(name, several, rows_of(DRAWS[name], 1))


def test_a_default_with_units_and_attention_with_heads() -> None:
    with jaxdrop.default_mesh_axes(("data", ..., "model")):
        several = rows_of(split(layers, BOTH), 4)
    np.testing.assert_array_equal(several, rows_of(layers, 1))

    def attention(key: jax.Array, x: jax.Array, **axes: Any) -> jax.Array:
        y = x[..., None]  # the units of a row are heads of one number
        return jaxdrop.dot_product_attention(
            y, y, y, dropout_rate=0.5, dropout_key=key, block_q=4, block_kv=4, **axes
        )[..., 0]

    draw = split(functools.partial(attention, mesh_axes=tuple(BOTH)), BOTH)
    np.testing.assert_allclose(rows_of(draw, 2), rows_of(attention, 1), atol=1e-5)


def test_what_is_drawn_once_is_the_same_in_all_parts() -> None:
    np.testing.assert_array_equal(rows_of(split(of_weights, ROW), 4), rows_of(of_weights, 1))


def test_shard_map_without_check_vma() -> None:
    draw = split(functools.partial(layers, mesh_axes=tuple(BOTH)), BOTH, check_vma=False)
    np.testing.assert_array_equal(rows_of(draw, 4), rows_of(layers, 1))


def test_an_axis_that_is_left_to_the_compiler() -> None:
    draw = split(functools.partial(layers, mesh_axes=("data",)), ROW, axis_names={"data"})
    np.testing.assert_array_equal(rows_of(draw, 4), rows_of(layers, 1))


LONG = {"data": 2, "length": 4}
LONG_MESH = jax.make_mesh((2, 4), tuple(LONG), axis_types=(AxisType.Auto,) * 2)


def attention(key: jax.Array, x: jax.Array) -> jax.Array:
    y = jnp.tanh(x)[..., None, :3]
    heads = jnp.concatenate([y, -y, y + 1, 2 * y], axis=-2)  # four of three numbers
    return jaxdrop.dot_product_attention(
        heads, heads, heads, dropout_rate=0.5, dropout_key=key, is_causal=True
    )


def of_parts(method: Any, *axes: str, **options: Any) -> Draw:
    """The same with the length split over "length", in shard_map if axes are named."""

    def part(key: jax.Array, x: jax.Array) -> jax.Array:
        y = jnp.tanh(x)[..., None, :3]
        heads = jnp.concatenate([y, -y, y + 1, 2 * y], axis=-2)
        return jaxdrop.ring_attention(
            heads, heads, heads, axis_name="length", method=method, dropout_rate=0.5,
            dropout_key=key, is_causal=True, block_q=1, **options,
        )  # fmt: skip

    if not axes:
        return part
    spec = P("data" if "data" in axes else None, "length")
    return jax.shard_map(
        part, mesh=LONG_MESH, in_specs=(P(), spec), out_specs=spec, axis_names=set(axes)
    )


@pytest.mark.parametrize("method", ["all_to_all", "ring"])
@pytest.mark.parametrize("axes", [("length",), ("data", "length")], ids="-".join)
def test_a_sequence_that_is_split(method: str, axes: tuple[str, ...]) -> None:
    options: dict[str, Any] = {"mesh_axes": ("data",)} if "data" in axes else {}
    draw, whole = of_parts(method, *axes, **options), rows_of(attention, 1)
    for parts in (1, 2, 4):
        np.testing.assert_allclose(rows_of(draw, parts), whole, atol=1e-5)


@pytest.mark.parametrize("method", ["all_to_all", "ring"])
def test_gradients_through_a_sequence_that_is_split(method: str) -> None:
    def loss_fn(draw: Draw, variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        return jnp.mean(draw(key, batch @ variables["params"]["w"]) ** 2)

    def end(draw: Draw, parts: int) -> Any:
        step = jt.make_train_step(
            lambda *given: loss_fn(draw, *given), accumulate=parts, donate=False
        )
        return step(state_of(jnp.eye(6), 1.0), X)[0].params["w"]

    draw, whole = of_parts(method, "data", "length", mesh_axes=("data",)), end(attention, 1)
    for parts in (2, 4):
        np.testing.assert_allclose(end(draw, parts), whole, atol=CLOSE)
    assert np.abs(whole - jnp.eye(6)).max() > 100 * CLOSE


@pytest.mark.parametrize("method", ["all_to_all", "ring"])
def test_a_step_in_shard_map_around_a_sequence_that_is_split(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(draw: Draw, parts: int) -> np.ndarray:
        def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
            y = draw(key, batch["x"] * variables["params"]["w"])
            all_of_it = jax.lax.all_gather(y, "length", axis=1, tiled=True)
            everywhere = jnp.zeros((ROWS, *all_of_it.shape[1:])).at[batch["row"]].set(all_of_it)
            mean = jax.lax.pmean(jnp.mean(y), ("data", "length"))
            return mean, {"y": jax.lax.pmean(jax.lax.psum(everywhere, "data"), "length")}

        step = jt.make_train_step(loss_fn, accumulate=parts, donate=False)
        spec = {"x": P("data", "length"), "row": P("data")}
        around = jax.shard_map(step, mesh=LONG_MESH, in_specs=(P(), spec), out_specs=(P(), P()))
        batch = {"x": X, "row": jnp.arange(ROWS)}
        _, metrics = jax.jit(around)(state_of(jnp.ones(())), batch)
        return np.asarray(metrics["y"]) * parts

    draw, whole = of_parts(method, mesh_axes=("data",)), rows_of(attention, 1)
    np.testing.assert_allclose(rows(draw, 1), whole, atol=1e-5)
    np.testing.assert_allclose(rows(draw, 4), whole, atol=1e-5)
    search = _batch_windows._Search
    monkeypatch.setattr(search, "between", lambda self, window, axes: window)
    assert np.abs(rows(draw, 4) - whole).max() > 0.1


@pytest.mark.parametrize("method", ["all_to_all", "ring"])
def test_examples_that_are_no_rows_are_refused_where_they_drop(method: str) -> None:
    def halves(key: jax.Array, x: jax.Array, **options: Any) -> jax.Array:
        attend = of_parts(method, "length", **options)
        return attend(key, x.reshape(-1, 4, 6)).reshape(-1, 8, 4, 3)

    with pytest.raises(ValueError, match="ring_attention drops in examples that are not the 16"):
        rows_of(halves, 2)
    sound = functools.partial(halves, deterministic=True)
    np.testing.assert_allclose(rows_of(sound, 2), rows_of(sound, 1), atol=1e-5)


@pytest.mark.parametrize("method", ["all_to_all", "ring"])
def test_ring_attention_outside_of_shard_map(method: str) -> None:
    np.testing.assert_allclose(rows_of(of_parts(method), 4), rows_of(attention, 1), atol=1e-5)


def step_around(member: Draw, parts: int) -> tuple[jax.Array, np.ndarray]:
    """Return a weight after a step that is itself in shard_map, and all rows of its output."""

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        y = member(key, batch["x"] * variables["params"]["w"])
        everywhere = jnp.zeros((ROWS, *y.shape[1:])).at[batch["row"]].set(y)
        return jax.lax.pmean(jnp.mean(y**2), "data"), {"y": jax.lax.psum(everywhere, "data")}

    step = jt.make_train_step(loss_fn, accumulate=parts, donate=False)
    around = jax.shard_map(step, mesh=MESH, in_specs=(P(), P("data")), out_specs=(P(), P()))
    batch = {"x": X, "row": jnp.arange(ROWS)}
    state, metrics = jax.jit(around)(state_of(jnp.ones(())), batch)
    return state.params["w"], np.asarray(metrics["y"]) * parts


def test_a_step_in_shard_map_has_the_masks_of_the_whole_batch() -> None:
    member = functools.partial(layers, mesh_axes=("data",))
    weight, whole = step_around(member, 1)
    np.testing.assert_array_equal(whole, layers(jax.random.fold_in(KEY, 0), X))
    for parts in (2, 4):
        found, rows = step_around(member, parts)
        np.testing.assert_array_equal(rows, whole)
        np.testing.assert_allclose(found, weight, atol=CLOSE)


def test_a_part_that_lies_elsewhere_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above tells a device's first row from those that other microbatches have."""
    member = functools.partial(layers, mesh_axes=("data",))
    _, whole = step_around(member, 2)
    search = _batch_windows._Search
    monkeypatch.setattr(search, "between", lambda self, window, axes: window)
    _, wrong = step_around(member, 2)
    assert (wrong != whole).any()


def test_gradients_are_those_of_the_whole_batch() -> None:
    draw = split(functools.partial(layers, mesh_axes=tuple(BOTH)), BOTH)

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        return jnp.mean(draw(key, jnp.tanh(batch @ variables["params"]["w"])) ** 2)

    ends = [
        jt.make_train_step(loss_fn, accumulate=parts, donate=False)(state_of(jnp.eye(6)), X)[0]
        for parts in (1, 2, 4)
    ]
    for end in ends[1:]:
        np.testing.assert_allclose(end.params["w"], ends[0].params["w"], atol=CLOSE)
    assert not np.allclose(ends[0].params["w"], np.eye(6))


def merged(key: jax.Array, x: jax.Array) -> jax.Array:
    flat = jaxdrop.dropout(key, x.reshape(-1, 6), 0.5, mesh_axes=("data",))
    return flat.reshape(x.shape)


def own_keys(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(jax.random.fold_in(key, jax.lax.axis_index("data")), x, 0.5)


def numbered(key: jax.Array, x: jax.Array) -> jax.Array:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(x.shape[0]))
    return jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.5))(keys, x)


REFUSED: dict[str, tuple[Draw, P, str]] = {
    "merged": (merged, ROW, "the batch is not one of its dimensions by itself"),
    "keys of devices": (own_keys, ROW, "Inside shard_map, give mesh_axes"),
    "jax.random": (
        lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0), ROW,
        "Inside shard_map, give mesh_axes",
    ),
    "numbers of rows": (numbered, ROW, "begin at 0 in every microbatch"),
    "units before rows": (
        lambda key, x: time_first(key, x, mesh_axes=("model", "data")), P("data", "model"),
        "split it before the batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_in_shard_map_is_refused(name: str) -> None:
    draw, spec, sentence = REFUSED[name]
    inside = split(draw, spec, check_vma=False)
    rows_of(inside, 1)
    with pytest.raises(ValueError, match=sentence):
        rows_of(inside, 2)
