"""layer_drop: the layer that is skipped is not run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def test_a_skipped_layer_is_not_run_under_jit() -> None:
    runs: list[int] = []

    def layer(h: jax.Array) -> jax.Array:
        jax.debug.callback(lambda: runs.append(1))
        return h * 2

    step = jax.jit(lambda k: jaxdrop.layer_drop(k, jnp.ones(2), 0.5, layer))
    ys = np.stack([step(k) for k in jax.random.split(jax.random.key(0), 40)])
    jax.effects_barrier()
    assert len(runs) == int((ys[:, 0] == 2).sum())
    assert 0 < len(runs) < 40


def test_parameters_of_a_skipped_layer_get_no_gradient() -> None:
    def loss(w: jax.Array, key: jax.Array) -> jax.Array:
        return jaxdrop.layer_drop(key, jnp.ones(3), 0.5, lambda h: h + w * h).sum()

    grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(
        jnp.float32(1), jax.random.split(jax.random.key(1), 32)
    )
    assert set(grads.tolist()) == {0.0, 3.0}


def test_a_second_eager_call_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def compiled(seed: int) -> list[str]:
        caplog.clear()
        with jax.log_compiles():
            jaxdrop.layer_drop(jax.random.key(seed), jnp.ones(5), 0.5, jnp.tanh)
        return [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]

    assert compiled(0)  # the messages that are looked for do exist
    assert not compiled(1)


def test_bad_layers() -> None:
    key, x = jax.random.key(0), jnp.ones((2, 3))
    with pytest.raises(ValueError, match="^got a layer that turns float32.*output is like its"):
        jaxdrop.layer_drop(key, x, 0.5, lambda h: h.sum())
    with pytest.raises(TypeError, match="^got layer=3 of type int"):
        jaxdrop.layer_drop(key, x, 0.5, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^got a rate of shape .2,.; layer_drop makes one decis"):
        jaxdrop.layer_drop(key, x, np.array([0.5, 0.5]), lambda h: h)
