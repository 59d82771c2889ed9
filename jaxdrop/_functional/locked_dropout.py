"""locked_dropout: one mask for all time steps."""

from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_axis
from jaxdrop._core.checks import check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._functional.dropout import dropout


def locked_dropout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    time_axis: int | None = None,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Drop the same features at every time step of a sequence.

    ``y[n, t, f] = x[n, t, f] * m[n, f] / (1 - rate)``, ``P(m[n, f] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: floating or complex sequence, such as (batch, time, features).
      rate: probability of dropping a feature of a sequence, as in ``dropout``.
      time_axis: the dimension along which the mask is fixed: -2 for (..., time, features), 0 for
        the time-major (time, batch, features). None means -2 for three dimensions or more; with
        two, one of which may be time or not, it has to be given (inside ``vmap``, too).
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x with E[y] = x and the variance of ``dropout``.

    Raises:
      ValueError: as ``dropout``, and if x has two dimensions and time_axis is not given.

    Not for: the recurrent connection itself, which passes through the mask at every step; there
    each step would divide by ``1 - rate`` again, unless the cell is written for it.

    References:
      Gal and Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural
      Networks, 2016; Merity et al., Regularizing and Optimizing LSTM Language Models, 2018.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.locked_dropout(jax.random.key(0), jnp.ones((2, 7, 4)), 0.5)
    >>> bool((y == y[:, :1]).all())
    True
    """
    x = check_input(x, "locked_dropout")
    if time_axis is None and x.ndim == 2:
        raise ValueError(
            f"got x of shape {x.shape} and no time_axis: locked_dropout cannot tell (time, "
            "features) from (batch, features); give time_axis=-2 for the one, and use dropout for "
            "the other"
        )
    time = check_axis(-2 if time_axis is None else time_axis, x.ndim, "time_axis", "locked_dropout")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "locked_dropout")
    shared = () if time is None else (time,)
    return dropout(
        key, x, rate, broadcast_dims=shared, deterministic=test_mode, mesh_axes=mesh_axes
    )
