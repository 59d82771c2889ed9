"""The gallery: what each member of the family does to an input of ones, as an image."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import jaxdrop

matplotlib.use("agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend comes first)

N = 24
RATE = 0.3


class Panel(NamedTuple):
    """One image: rows and columns say what its axes are."""

    title: str
    rows: str
    columns: str
    draw: Callable[[jax.Array], Any]


def square(function: Callable[..., jax.Array], **options: Any) -> Callable[[jax.Array], Any]:
    """Apply the function to N x N ones."""
    return lambda key: function(key, jnp.ones((N, N)), RATE, **options)


def maps(function: Callable[..., jax.Array], side: int, **options: Any) -> Callable:
    """Apply the function to one example whose maps are then laid side by side."""
    across = N // side

    def draw(key: jax.Array) -> np.ndarray:
        y = np.asarray(function(key, jnp.ones((1, side, side, across**2)), RATE, **options))[0]
        return y.reshape(side, side, across, across).transpose(2, 0, 3, 1).reshape(N, N)

    return draw


def cutout(key: jax.Array) -> np.ndarray:
    y = np.asarray(jaxdrop.cutout(key, jnp.ones((4, N // 2, N // 2, 1)), size=5))[..., 0]
    return y.reshape(2, 2, N // 2, N // 2).transpose(0, 2, 1, 3).reshape(N, N)


def layer_drop(key: jax.Array) -> jax.Array:
    def step(key: jax.Array) -> jax.Array:
        return jaxdrop.layer_drop(key, jnp.zeros(N), RATE, lambda h: h + 1)

    return jax.vmap(step)(jax.random.split(key, N))


def patch_dropout(key: jax.Array) -> np.ndarray:
    kept = np.asarray(jaxdrop.patch_indices(key, (N, N), RATE, prefix=1))
    return (kept[:, :, None] == np.arange(N)).any(axis=1).astype(float)


def embedding_dropout(key: jax.Array) -> jax.Array:
    text = np.arange(N) * 5 % 7  # seven words, each of which comes back
    return jaxdrop.embedding_dropout(key, jnp.ones((7, N)), RATE, text)


def word_dropout(key: jax.Array) -> jax.Array:
    return jaxdrop.word_dropout(key, jnp.ones((N, N), jnp.int32), RATE, unknown=0)


def zoneout(key: jax.Array) -> np.ndarray:
    state, states = jnp.zeros(N), []
    for t in range(N):
        new = jnp.full(N, t / N)
        state = jaxdrop.zoneout(jax.random.fold_in(key, t), new, RATE, previous=state)
        states.append(np.asarray(state))
    return np.stack(states)


def variational_dropout(key: jax.Array) -> jax.Array:
    learned = jnp.linspace(-6, 0, N)[None]  # a variance for each column
    return jaxdrop.variational_dropout(key, jnp.ones((N, N)), learned)


def recurrent_dropout(key: jax.Array) -> jax.Array:
    """What a cell that hands its state on unchanged reads at every step."""
    cell = jaxdrop.recurrent_cell(key, lambda h, x: (jnp.ones(N), h), RATE)
    return jax.lax.scan(cell, jnp.ones(N), jnp.ones((N, 1)))[1]


def weight_drop(key: jax.Array) -> jax.Array:
    params = {"hh": {"kernel": jnp.ones((N, N))}, "ih": {"kernel": jnp.ones((N, N))}}
    dropped = jaxdrop.weight_drop(key, params, RATE, where=lambda path: "hh" in path)
    return jnp.concatenate([dropped["hh"]["kernel"][: N // 2], dropped["ih"]["kernel"][: N // 2]])


def drop_connect_dense(key: jax.Array) -> jax.Array:
    x, kernel = jnp.ones((N, 1)), jnp.ones((1, N))
    return jaxdrop.drop_connect_dense(key, x, RATE, kernel=kernel, per_example=True)


def variational_dense(key: jax.Array) -> jax.Array:
    variance = jnp.linspace(-6, 0, N)[None]  # of a weight for each unit
    return jaxdrop.variational_dense(key, jnp.ones((N, 1)), jnp.ones((1, N)), variance)


PANELS = [
    Panel("dropout", "examples", "features", square(jaxdrop.dropout)),
    Panel("gaussian_dropout", "examples", "features", square(jaxdrop.gaussian_dropout)),
    Panel("gaussian_noise", "examples", "features", square(jaxdrop.gaussian_noise)),
    Panel("alpha_dropout", "examples", "features", square(jaxdrop.alpha_dropout)),
    Panel("concrete_dropout", "examples", "features", square(jaxdrop.concrete_dropout)),
    Panel("spatial_dropout", "16 maps", "of 6 x 6", maps(jaxdrop.spatial_dropout, 6)),
    Panel("feature_alpha_dropout", "16 maps", "of 6 x 6", maps(jaxdrop.feature_alpha_dropout, 6)),
    Panel("drop_block, size 5", "one map", "", maps(jaxdrop.drop_block, N, block_size=5)),
    Panel("cutout, size 5", "4 images", "of 12 x 12", cutout),
    Panel("patch_dropout", "examples", "tokens", patch_dropout),
    Panel("drop_path", "examples", "features", square(jaxdrop.drop_path)),
    Panel("layer_drop", "calls", "everything", layer_drop),
    Panel("locked_dropout", "time", "features", square(jaxdrop.locked_dropout, time_axis=-2)),
    Panel("recurrent_dropout", "time", "units", recurrent_dropout),
    Panel("zoneout (state over time)", "time", "units", zoneout),
    Panel("variational_dropout", "examples", "learned variance", variational_dropout),
    Panel("embedding_dropout", "words of a text", "features", embedding_dropout),
    Panel("word_dropout", "sentences", "words", word_dropout),
    Panel("drop_connect", "inputs", "units", square(jaxdrop.drop_connect)),
    Panel("drop_connect_dense, each", "examples", "units", drop_connect_dense),
    Panel("weight_drop", "recurrent, input", "units", weight_drop),
    Panel("variational_dense", "examples", "learned variance", variational_dense),
]


def main(path: str | Path) -> None:
    columns = 6
    figure, axes = plt.subplots(-(-len(PANELS) // columns), columns, figsize=(12, 8.8), dpi=110)
    for ax in axes.flat[len(PANELS) :]:
        ax.axis("off")
    for n, (panel, ax) in enumerate(zip(PANELS, axes.flat, strict=False)):
        y = np.asarray(panel.draw(jax.random.key(100 + n)), np.float64)
        ax.imshow(y, cmap="cividis", interpolation="nearest")
        ax.set_title(panel.title, fontsize=9)
        ax.set_ylabel(panel.rows, fontsize=8)
        ax.set_xlabel(panel.columns, fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(f"An input of ones after each method, rate {RATE}; dark is small", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/gallery", description=__doc__)
    default = Path(__file__).parents[1] / "docs" / "gallery.png"
    parser.add_argument("file", nargs="?", default=default, help="docs/gallery.png if left out")
    main(parser.parse_args().file)
