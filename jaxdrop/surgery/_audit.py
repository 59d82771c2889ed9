"""audit: what each dropout of a model really does, and what is wrong with it."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn
from flax import nnx

from jaxdrop._core.checks import check_count, check_integer, check_switch
from jaxdrop.surgery._audit_report import Audit
from jaxdrop.surgery._audit_watch import Watch


def audit(
    model: nnx.Module | nn.Module,
    *inputs: Any,
    variables: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    testing: Mapping[str, Any] | None = None,
    num_steps: int = 16,
    seed: int = 0,
    timed: bool = False,
    **options: Any,
) -> Audit:
    """Find out what every dropout of a model does, from outside, whoever wrote it.

    The model is traced in training and in test mode, and what drops is followed through the
    program. Then some steps of training run, each dropout given ones, so that what it returns is
    its mask. Known as layers are flax's dropouts and attention, jaxdrop's, and subclasses of them;
    other dropouts are found by ``jax.random.bernoulli`` or jaxdrop's functions, which they call,
    and named by file and line. The model is not changed.

    For each dropout: is it on in training, and off in test mode; does each step have its own mask;
    do the examples of a batch, several calls in a step (layers of a scan, lanes of a vmap, devices
    of a shard_map), or two dropouts share one; does it drop at the rate that it says; is its result
    used; does a batch norm follow; is its input added to its result.

    Keys are compared, and found equal or not. Two questions have an answer by chance, and an exact
    law: the rate (binomial), and one mask for several examples or calls (given what masks keep, all
    orders are equally likely). A sound model gets a finding from either with a probability of 1e-6
    at most.

    Args:
      model: an NNX model, or a Linen model with its variables.
      inputs: what the model is called with, examples along the first axis. Small ones will do: a
        batch of 8. An answer that this few masks cannot give is None.
      variables: of a Linen model.
      training, testing: arguments of the call, by name, that say its mode, such as
        ``training={"on": True}, testing={"on": False}``. Those named ``train``, ``training``,
        ``is_training`` and ``deterministic`` are known, and an NNX model's ``train()`` and
        ``eval()`` are called.
      num_steps: how many steps to run, at least 2.
      seed: of their keys, which a Linen model and an NNX model that takes ``rngs`` get; other NNX
        models have their own streams, which go on from step to step.
      timed: True to measure which share of a training step's time each dropout takes: of the
        gradient of the sum of all results, by leaving it out. That compiles once for each.
      options: what the model is called with by name in both modes.

    Returns:
      An ``Audit`` with ``rows`` and ``findings``; ``print`` shows both.

    Raises:
      TypeError: if the model is not one of Flax, or a Linen model comes without variables.
      ValueError: if num_steps or seed is out of range.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 2, rngs=rngs))
    >>> surgery.audit(model, jnp.ones((16, 8))).findings
    []
    >>> model.layers[0].broadcast_dims = (0,)
    >>> [finding.problem for finding in surgery.audit(model, jnp.ones((16, 8))).findings]
    ['shared by examples']
    """
    # Here, since they import jaxdrop.training and scipy.stats, which takes a second.
    from jaxdrop.surgery._audit_programs import check_modes, run, trace
    from jaxdrop.surgery._audit_rows import rows_of
    from jaxdrop.surgery._audit_time import time_shares

    if isinstance(model, nn.Module):
        if variables is None:
            raise TypeError(
                f"got {type(model).__name__} without variables; pass those of model.apply, as in "
                "audit(model, x, variables=variables)"
            )
    elif not isinstance(model, nnx.Module):
        raise TypeError(
            f"got {type(model).__name__}, expected a flax.nnx model, or a flax.linen model with "
            "its variables"
        )
    steps = check_count(num_steps, "num_steps", "steps whose masks are compared", at_least=2)
    seed, measure = _check_seed(seed), check_switch(timed, "timed")
    check_modes(model, inputs, training, testing)
    watch = Watch()
    with jax.debug_key_reuse(False):  # a key that is used twice is told as a finding
        in_training = trace(
            model, variables, (inputs, {**options, **(training or {})}), True, watch
        )
        in_test = trace(model, variables, (inputs, {**options, **(testing or {})}), False, watch)
        masks = run(in_training, steps, seed)
        sites = sorted(in_training.flow.live) if measure else []
        times = time_shares(in_training, sites) if sites else {}
    return Audit(rows_of(watch, in_training, in_test, masks, times))


def _check_seed(seed: Any) -> int:
    expected = "an integer from 0 to 2**32 - 1"
    number = check_integer(seed, "seed", expected)
    if not 0 <= number < 2**32:
        raise ValueError(f"got seed={number}, expected {expected}")
    return number
