"""expert_dropout: whole experts of a mixture, with gates that are normalised again."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.checks import check_real_input, check_switch
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mesh import Names, apart_from, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape
from jaxdrop._core.scale import product_dtype
from jaxdrop._functional.some_kept import some_kept


def expert_dropout(
    key: AnyKey | None,
    gates: Float[AnyArray, "... experts"],
    rate: RateLike,
    *,
    per_example: bool = False,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Float[Array, "... experts"]:
    """Drop whole experts of a mixture, and share out their gates among the others.

    ``y[i] = gates[i] m[i] sum(gates) / sum(gates m)``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      gates: weights of 0 or more by which the experts' outputs are added, such as the softmax of a
        router, (..., experts).
      rate: probability of dropping an expert: a number, or an array of one for each expert; may be
        traced.
      per_example: True decides anew for each row of gates, False once for all of them.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split gates, as in ``dropout``. None may
        split the experts, of which at least one is kept.

    Returns:
      Array like gates. At least one expert is kept: the law is that of independent decisions, given
      that not all drop, as in ``modality_dropout``; at rate 1 exactly one is kept, each as often as
      the others. The rows sum to what they did, or to 0 where all gates of the kept experts are 0:
      drop before a choice of the best k of them, so that k are left.

    Raises:
      TypeError: if gates is not a floating array.
      ValueError: as ``dropout``, and if gates has no dimension, or an axis splits the experts.

    Not for: saving the time of an expert, which has to be left out of the computation for that:
    ``kept_units`` chooses some.

    Reference:
      Zhao et al., Recommending What Video to Watch Next: A Multitask Ranking System, 2019, whose
      rate is 0.1, for gates that come to rest on one expert.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> gates = jnp.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]])
    >>> y = jaxdrop.expert_dropout(jax.random.key(1), gates, 0.5)
    >>> [[f"{gate:.2f}" for gate in row] for row in y.tolist()]
    [['0.00', '0.33', '0.00', '0.67'], ['0.00', '0.50', '0.00', '0.50']]
    """
    caller = "expert_dropout"
    gates = check_real_input(gates, caller, "gates", "as gates are weights")
    if not gates.ndim or not gates.shape[-1]:
        raise ValueError(f"got gates of shape {gates.shape}; {caller} takes (..., experts)")
    names = _of_rows(mesh_axes, key, gates)
    checked = check_rate(rate)
    shared = () if check_switch(per_example, "per_example") else range(gates.ndim - 1)
    drawn = tuple(1 if d in shared else n for d, n in enumerate(gates.shape))
    check_rate_shape(checked, drawn)
    key, test_mode = resolve(key, checked, deterministic, caller, draws_at_one=True)
    if test_mode is True:
        return gates
    kept = some_kept(key, drawn, checked, apart_from(names, shared))
    return choose(test_mode, gates, _shared_out(gates, kept))


def _of_rows(mesh_axes: MeshAxes, key: Any, gates: jax.Array) -> Names:
    names = placed(mesh_axes, key, gates)
    if names[gates.ndim - 1 :] and names[-1]:
        raise ValueError(
            f"got {mesh_axes=}, by which {names[-1]} splits the experts; expert_dropout normalises "
            "over all of them: use it where each shard has all gates of its examples"
        )
    return names


@jax.jit
def _shared_out(gates: jax.Array, kept: jax.Array) -> jax.Array:
    wide = gates.astype(product_dtype(gates.dtype))
    left = jnp.where(broadcast_like(kept, wide), wide, np.zeros((), wide.dtype))
    whole, part = wide.sum(-1, keepdims=True), left.sum(-1, keepdims=True)
    some = part > 0
    factor = jnp.where(some, whole / jnp.where(some, part, 1), 0)
    return (left * factor).astype(gates.dtype)
