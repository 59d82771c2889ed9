"""modality_dropout: whole inputs of an example, such as its image or its text."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Inexact, Integer

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.checks import check_broadcast, check_input, check_sequence, check_switch
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import keep_mask
from jaxdrop._core.mesh import placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.condition_dropout import of_examples, replace, same_batch
from jaxdrop._functional.some_kept import some_kept

Modality = Inexact[AnyArray, "batch ..."] | Integer[AnyArray, "batch ..."]


def modality_dropout(
    key: AnyKey | None,
    modalities: Mapping[str, Modality] | Sequence[Modality],
    rate: RateLike,
    *,
    keep_one: bool = True,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Any:
    """Drop whole inputs of an example, such as its image, its text or its sound (ModDrop).

    ``y[i][n] = x[i][n] if m[n, i] else 0``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      modalities: a dict or a sequence of arrays (batch, ...) of any dtypes and further dimensions.
      rate: probability of dropping a modality: a number, or an array of one for each of them, in
        their order; may be traced.
      keep_one: True keeps at least one modality of each example: the law is that of independent
        decisions, given that not all of them drop. A modality i is then dropped with probability
        ``p_i (1 - q_i) / (1 - p_i q_i)``, where q_i is the product of the other rates, a little
        below the p_i that was asked for; at rate 1 exactly one is kept, each as often as the
        others. False decides independently, and may leave nothing.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axis that splits the batch, such as ``("data",)``.

    Returns:
      A dict, or a tuple, of arrays like the modalities. What is dropped is 0, and nothing is
      scaled: a network that gets all of them at test time should see each as it is. Ones (batch,)
      in the place of the modalities give the mask, for a token that says what is missing.

    Raises:
      TypeError: if modalities is neither a dict nor a sequence of arrays of numbers.
      ValueError: as ``dropout``, and if the modalities differ in their number of examples, or rate
        does not broadcast against one for each of them.

    Not for: modalities that mean nothing without each other.

    Reference:
      Neverova, Wolf, Taylor and Nebout, ModDrop: Adaptive Multi-Modal Gesture Recognition, 2015.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> inputs = {"image": jnp.ones((6, 4, 4, 3)), "text": jnp.ones(6)}
    >>> y = jaxdrop.modality_dropout(jax.random.key(0), inputs, 0.5)
    >>> y["image"].max((1, 2, 3)).tolist(), y["text"].tolist()
    ([1.0, 0.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    """
    caller = "modality_dropout"
    given = dict(modalities) if isinstance(modalities, Mapping) else _numbered(modalities)
    xs = {name: check_input(x, caller, str(name), integers=True) for name, x in given.items()}
    shape = (same_batch(xs, "modalities"), len(xs))
    names = placed(mesh_axes, key, *xs.values())[:1]
    keep_one, checked = check_switch(keep_one, "keep_one"), check_rate(rate)
    each = f"one for each of {len(xs)} modalities"
    check_broadcast(jnp.shape(checked.value), shape[1:], "a rate", each)
    key, test_mode = resolve(key, checked, deterministic, caller, draws_at_one=keep_one)
    if test_mode is not True:
        kept = (
            some_kept(key, shape, checked, names)
            if keep_one
            else keep_mask(key, shape, rate, mesh_axes=names)
        )
        for i, (name, x) in enumerate(list(xs.items())):
            y = replace(of_examples(kept[:, i], x), x, jnp.zeros((1,) * x.ndim, x.dtype))
            xs[name] = choose(test_mode, x, y)
    return xs if isinstance(modalities, Mapping) else tuple(xs.values())


def _numbered(modalities: Any) -> dict[str, jax.Array]:
    expected = "a dict or a sequence of arrays, one for each modality"
    if isinstance(modalities, (jax.Array,)) or hasattr(modalities, "dtype"):
        raise TypeError(f"got one array of shape {jnp.shape(modalities)}, expected {expected}")
    return {
        f"modalities[{i}]": x
        for i, x in enumerate(check_sequence(modalities, "modalities", expected))
    }
