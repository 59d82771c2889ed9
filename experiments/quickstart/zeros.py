"""What dropout removes in a training step: exact zeros in activations and in weight gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

EXAMPLES = 10  # per-example gradients are large: the first rows of the batch are a fair sample


class Zeros(NamedTuple):
    """Counts by layer (0 is the input), over units and examples.

    A ReLU makes zeros of its own, as do blank pixels. So the units that were not zero before
    dropout ("active") are counted apart: of these, dropout zeroes the share ``rate``.
    """

    units: jax.Array  # all of them
    zero: jax.Array  # exactly zero after dropout
    active: jax.Array  # not zero before dropout
    removed: jax.Array  # active, and exactly zero after dropout
    silent: jax.Array  # active, and every weight that leaves the unit has gradient exactly zero


def count_zeros(model: Any, state: Any, x: jax.Array, y: jax.Array) -> Zeros:
    """Count the zeros of the step that comes next, example by example.

    The gradient of one example's loss is taken for each of the first examples. Row j of a
    weight matrix's gradient is zero when unit j did not take part in that example.

    Args:
      model: a network that sows "before" and "after" dropout.
      state: its train state; the step's own dropout key is used.
      x, y: the step's batch. A mask depends on key and index alone, so the first rows alone have
        the masks that they have in the batch.
    """
    x, y = x[:EXAMPLES], y[:EXAMPLES]

    def per_example(params: Any) -> tuple[jax.Array, Any]:
        logits, sown = model.apply(
            {"params": params},
            x,
            train=True,
            rngs={"dropout": state.step_key()},
            mutable=["intermediates"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses, sown["intermediates"]

    grads, sown = jax.jacrev(per_example, has_aux=True)(state.params)
    counts = []
    for layer, (before, after) in enumerate(zip(sown["before"], sown["after"], strict=True)):
        active = before != 0
        silent = jnp.all(grads[f"Dense_{layer}"]["kernel"] == 0, axis=-1)
        flags = (jnp.ones_like(active), after == 0, active, active & (after == 0), active & silent)
        counts.append([jnp.sum(flag, dtype=jnp.int32) for flag in flags])
    return Zeros(*(jnp.stack(column) for column in zip(*counts, strict=True)))
