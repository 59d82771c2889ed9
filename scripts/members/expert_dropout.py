"""Expert dropout: Zhao 2019."""

import jax
import jax.numpy as jnp

import jaxdrop
from scripts.members._panel import DRAWN_RATE, N, Panel
from scripts.members._record import Record


def draw(key: jax.Array) -> jax.Array:
    gates = jnp.ones((N, 8))
    y = jaxdrop.expert_dropout(key, gates, DRAWN_RATE, per_example=True)
    return jnp.repeat(y, N // 8, axis=1)


RECORD = Record(
    section="Conditions, graphs, experts",
    after="drop_message",
    method="expert dropout",
    paper="Zhao 2019",
    one_decision_for="an expert of a mixture, never all of them",
    mean_preserved="no",
    variance_preserved="no",
    use_for="gates that come to rest on one expert",
    not_for="saving the expert's time",
    cases=(),  # gates are no activations, and share what is dropped
    layers=(),
    panels=(Panel("expert_dropout", "examples", "8 experts", draw),),
    timed=(),
    helpers=("expert_dropout",),
    own_layers=("ExpertDropout",),
)
