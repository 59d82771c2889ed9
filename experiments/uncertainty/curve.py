"""The one-dimensional picture: a curve, a gap in the data, and bands that widen there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._networks.feedforward import Net, Params
from jaxdrop import mc

NOISE = 0.1  # standard deviation
GRID = np.linspace(-2.5, 2.5, 501, dtype=np.float32)
RATE = 0.1
UNITS = 256
STEPS = 4000
ADAM = optax.adamw(1e-3, weight_decay=1e-4)


def truth(x: Any) -> Any:
    return jnp.sin(4 * x) + x / 2


def draw_rows(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Draw x from [-1, -0.3] and [0.3, 1], and y with noise; there are no data elsewhere."""
    side_key, x_key, y_key = jax.random.split(key, 3)
    side = jnp.where(jax.random.uniform(side_key, (count,)) < 0.5, -1.0, 1.0)
    x = side * jax.random.uniform(x_key, (count,), minval=0.3, maxval=1.0)
    return x, truth(x) + NOISE * jax.random.normal(y_key, (count,))


def network(params: Params, key: jax.Array, x: jax.Array) -> jax.Array:
    """Three ReLU layers with dropout before all but the first."""
    net = Net((UNITS,) * 3, outputs=1, hidden_rate=RATE)
    keys = [None, *(jax.random.fold_in(key, i) for i in range(1, len(params)))]
    outputs: Any = net.apply({"params": params}, x[:, None], train=True, keys=keys)
    return outputs[:, 0]


@jax.jit
def fit(key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    """Train on all rows at a time."""
    start_key, dropout_key = jax.random.split(key)
    sizes = [(1, UNITS), (UNITS, UNITS), (UNITS, UNITS), (UNITS, 1)]
    he = jax.nn.initializers.he_normal()
    keys = jax.random.split(start_key, (len(sizes), 2))
    params = {
        f"Dense_{i}": {
            "kernel": he(k, size, jnp.float32),
            # Kinks all over the range that is drawn, not only at the origin.
            "bias": jax.random.normal(b, (size[1],)) * (i == 0),
        }
        for i, (size, (k, b)) in enumerate(zip(sizes, keys, strict=True))
    }

    def loss(params: Any, key: Any) -> jax.Array:
        return jnp.mean(jnp.square(network(params, key, x) - y))

    def step(carry: Any, number: Any) -> tuple[Any, None]:
        params, state = carry
        grads = jax.grad(loss)(params, jax.random.fold_in(dropout_key, number))
        updates, state = ADAM.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, ADAM.init(params)), jnp.arange(STEPS))[0][0]


def measure(key: jax.Array, rows: int, samples: int) -> tuple[dict[str, Any], Any]:
    """Fit, predict on the grid and on fresh rows; return numbers and parameters."""
    rows_key, fit_key, grid_key, fresh_key, test_key = jax.random.split(key, 5)
    x, y = draw_rows(rows_key, rows)
    params = fit(fit_key, x, y)
    f = jax.tree_util.Partial(network, params)
    tau = 1 / NOISE**2
    mean, variance = mc.mc_moments(f, grid_key, GRID, samples)
    x_new, y_new = draw_rows(fresh_key, 1000)
    drawn = mc.mc_predict(f, test_key, x_new, samples, chunk_size=32)
    center, spread = mc.regression_moments(drawn, tau)
    apart = jnp.abs(y_new - center) / jnp.sqrt(spread)
    inside = (np.abs(GRID) >= 0.3) & (np.abs(GRID) <= 1)
    epistemic = np.sqrt(np.asarray(variance))
    numbers = {
        "rows": [np.asarray(x).tolist(), np.asarray(y).tolist()],
        "grid": GRID.tolist(),
        "truth": np.asarray(truth(GRID)).tolist(),
        "mean": np.asarray(mean).tolist(),
        "epistemic": epistemic.tolist(),
        "noise": NOISE,
        "sigma_at_data": float(epistemic[inside].mean()),
        "sigma_in_gap": float(epistemic[np.abs(GRID) < 0.3].mean()),
        "sigma_outside": float(epistemic[np.abs(GRID) > 1].mean()),
        "covered_1_sigma": float((apart < 1).mean()),
        "covered_2_sigma": float((apart < 2).mean()),
        "log_likelihood": float(mc.regression_log_likelihood(drawn, y_new, tau).mean()),
    }
    return numbers, params
