"""The sweep: the bits of a run alone, on any chunk and mesh; resumed; refused in a sentence."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training import _sweep_vectorize

KEYS = jax.random.key_data(jax.random.split(jax.random.key(0), 3))
X = np.random.RandomState(0).normal(size=(64, 20)).astype(np.float32)
SHARED = {"x": X, "y": (X[:, 0] > 0).astype(np.int32)}


def axes() -> dict[str, Any]:
    return {
        "key": jax.random.wrap_key_data(jnp.asarray(KEYS)),
        "rate": jnp.array([0.0, 0.2, 0.5, 0.8]),
        "learning_rate": jnp.array([0.1, 0.3]),
    }


@functools.cache
def make_train(steps: int = 20) -> Callable[..., Any]:
    """An MLP of one hidden layer, trained on batches of 16 by jaxdrop's own step."""

    def train(key: Any, rate: Any, learning_rate: Any, x: Any, y: Any) -> dict[str, Any]:
        init_key, order_key, dropout_key = jax.random.split(key, 3)
        kernels = jax.random.split(init_key)
        params = {
            "a": jax.random.normal(kernels[0], (20, 32)) * 0.3,
            "b": jax.random.normal(kernels[1], (32, 2)) * 0.3,
        }

        def loss_fn(variables: Any, rows: Any, key: Any) -> Any:
            p = variables["params"]
            hidden = jaxdrop.dropout(key, jax.nn.relu(x[rows] @ p["a"]), rate)
            return optax.softmax_cross_entropy_with_integer_labels(hidden @ p["b"], y[rows]).mean()

        step = jt.make_train_step(loss_fn)
        state = jt.TrainState.create(
            apply_fn=None,  # the loss applies no module
            params=params,
            tx=optax.sgd(learning_rate, momentum=0.9),
            dropout_key=dropout_key,
        )

        def body(state: Any, number: Any) -> Any:
            rows = jax.random.randint(jax.random.fold_in(order_key, number), (16,), 0, 64)
            return step(state, rows)

        state, metrics = jax.lax.scan(body, state, jnp.arange(steps))
        mask = jaxdrop.keep_mask(jax.random.fold_in(dropout_key, 0), (16, 32), rate)
        return {"params": state.params, "loss": metrics["loss"], "mask": mask}

    return train


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """Every run of the grid by itself, in a program of its own."""
    train, grid = jax.jit(make_train()), axes()
    rows = [
        train(axes()["key"][i], grid["rate"][j], grid["learning_rate"][k], **SHARED)
        for i in range(3)
        for j in range(4)
        for k in range(2)
    ]
    return jax.tree.map(lambda *a: np.stack(a).reshape(3, 4, 2, *a[0].shape), *rows)


def same(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def devices(*shape: int) -> jax.sharding.Mesh:
    return jax.make_mesh(shape, ("i", "j")[: len(shape)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"chunk": 5}, {"mesh": devices(8)}, {"mesh": devices(2, 4), "chunk": 8}],
    ids=["whole", "chunks", "8 devices", "2x4 devices in chunks"],
)
def test_map_has_the_bits_of_the_run_alone(options: Any, alone: Any) -> None:
    assert same(jt.sweep(make_train(), axes(), shared=SHARED, vectorize="map", **options), alone)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"chunk": 5}, {"mesh": devices(8)}])
def test_vmap_has_the_same_masks_and_differs_by_rounding(options: Any, alone: Any) -> None:
    got = jt.sweep(make_train(), axes(), shared=SHARED, vectorize="vmap", **options)
    np.testing.assert_array_equal(got["mask"], alone["mask"])
    np.testing.assert_array_equal(got["loss"].shape, (3, 4, 2, 20))
    # One step's products are sums of at most 64 terms: each rounds to 64 * 2**-24 of its size.
    np.testing.assert_allclose(got["loss"][..., 0], alone["loss"][..., 0], rtol=64 * 2.0**-24 * 4)


def test_the_results_lie_where_their_axes_say(alone: Any) -> None:
    rates = alone["mask"].mean(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(rates, [1.0, 0.8, 0.5, 0.2], atol=0.05)
    reached = alone["loss"][..., -1]
    assert len(np.unique(reached)) == 24


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_after_its_last_chunk(tmp_path: Path, alone: Any) -> None:
    def stop(runs: int, way: str) -> None:
        if runs >= 10:
            raise KeyboardInterrupt

    options: Any = {"shared": SHARED, "vectorize": "map", "chunk": 5, "folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        jt.sweep(make_train(), axes(), on_chunk=stop, **options)
    assert len(list(tmp_path.glob("chunk-*"))) == 2
    seen: list[Any] = []
    got = jt.sweep(make_train(), axes(), on_chunk=lambda *a: seen.append(a), **options)
    assert same(got, alone)
    assert seen == [(10, "map"), (15, "map"), (20, "map"), (24, "map")]
    seen.clear()
    jt.sweep(make_train(), axes(), on_chunk=lambda *a: seen.append(a), **options)
    assert seen == [(24, "map")]  # nothing is left to do
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(f"chunk-0000{i}.msgpack" for i in range(5)),
        "sweep.json",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"chunk": 6}, r"another sweep \(width: 5 there, 6 here\)"),
        ({"vectorize": "vmap"}, r"vectorize: map there, vmap here"),
        ({"config": {"steps": 21}}, r"config.steps: 20 there, 21 here"),
        ({"axes": {"rate": jnp.array([0.1])}}, r"axes.rate: \w{32} there, .*; shape: \[3, 4, 2\] "),
    ],
)
def test_the_folder_of_another_sweep_is_left_alone(
    change: Any, sentence: str, tmp_path: Path
) -> None:
    options: Any = {"vectorize": "map", "chunk": 5, "config": {"steps": 20}}
    jt.sweep(tiny, axes(), folder=tmp_path, **options)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    grid = axes() | change.pop("axes", {})
    with pytest.raises(jt.CheckpointError, match=sentence):
        jt.sweep(tiny, grid, folder=tmp_path, **options | change)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def tiny(key: Any, rate: Any, learning_rate: Any) -> Any:
    return {"rate": rate.astype(jnp.bfloat16), "draw": jax.random.bits(key)}


@pytest.mark.slow
def test_auto_takes_the_faster_way_and_a_resumed_sweep_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 2.0, 10.0, 11.0])  # vmap takes 2 seconds, map 1
    # The module's own clock: jax, too, may look at the time.
    monkeypatch.setattr(_sweep_vectorize, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    ways: list[str] = []
    options: Any = {"vectorize": "auto", "trial": tiny, "folder": tmp_path}
    jt.sweep(tiny, axes(), on_chunk=lambda n, way: ways.append(way), **options)
    assert json.loads((tmp_path / "sweep.json").read_text())["vectorize"] == "map"
    jt.sweep(tiny, axes(), on_chunk=lambda n, way: ways.append(way), **options)  # no clock is left
    assert ways == ["map", "map"]


@pytest.mark.parametrize(
    "grid, options, sentence",
    [
        ({}, {}, "got no axes"),
        ({"rate": 0.5}, {}, r"axis 'rate' of shape \(\)"),
        ({"rate": []}, {}, r"axis 'rate' of shape \(0,\)"),
        ({"rate": [0.5]}, {"shared": {"rate": 1}}, r"\['rate'\] both in axes and in shared"),
        ({"rate": [0.5]}, {"vectorize": "loop"}, "vectorize='loop', expected"),
        ({"rate": [0.5]}, {"vectorize": "auto"}, "pass trial="),
        ({"rate": [0.5]}, {"chunk": 0}, "got chunk=0, expected a whole number of at least 1"),
    ],
)
def test_wrong_use_is_an_error_before_any_work(grid: Any, options: Any, sentence: str) -> None:
    def never(**kwargs: Any) -> Any:
        raise AssertionError("nothing was to be run")

    with pytest.raises(ValueError, match=sentence):
        jt.sweep(never, grid, **options)
