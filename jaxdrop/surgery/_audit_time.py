"""time_shares: which share of a training step's time a dropout takes, by leaving it out."""

import time
from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.masked_scale import _drop_p
from jaxdrop.surgery._audit_evaluation import Evaluation, Records
from jaxdrop.surgery._audit_marks import mark_p
from jaxdrop.surgery._audit_programs import Program
from jaxdrop.surgery._audit_sites import Place, Site, layer, site_of
from jaxdrop.training import _program_parts as parts

ROUNDS, INNER = 20, 5
"""The median lies between the sixth and the fifteenth of 20 values with a probability of 95.9%."""
LEAST = 0.02
"""Seconds that are timed at once, of as many steps as it takes."""


def time_shares(program: Program, sites: list[Site]) -> dict[Site, tuple[float, float]]:
    """Time a training step with everything, and for each dropout one without it.

    ``share = 1 - time without it / time with it``, of two steps one after the other

    The step is the gradient of the sum of all results in all variables. A dropout of attention's
    weights, and others whose result has another shape than their input, cannot be left out so.

    Returns:
      For each that can, an interval in which the median share lies with a probability of 95%,
      whatever the law of the times: by order statistics. It reaches below 0 where the share is less
      than the noise.
    """
    whole = _compiled(program, None)
    left_out = {site: _compiled(program, site) for site in sites}
    steps = {site: step for site, step in left_out.items() if step is not None}
    times = max(1, round(LEAST / min(_seconds(whole, 1) for _ in range(5))))
    shares: dict[Site, list[float]] = {site: [] for site in steps}
    for number in range(ROUNDS):
        for site, step in steps.items():
            pair = [whole, step] if number % 2 else [step, whole]  # neither is always the first
            spent = {id(one): _seconds(one, times) for one in pair}
            shares[site].append(1 - spent[id(step)] / spent[id(whole)])
    ordered = {site: sorted(values) for site, values in shares.items()}
    return {site: (values[INNER], values[-1 - INNER]) for site, values in ordered.items()}


def _seconds(step: Any, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        jax.block_until_ready(step())
    return time.perf_counter() - start


class _Without(Evaluation):
    """Runs a program in which one dropout, or none, returns its input."""

    def __init__(self, site: Site | None):
        self.site = site
        self.left_out = site is None
        self._input: Any = None

    def opens(self, program: Any) -> bool:
        return any(
            eqn.primitive is mark_p
            or eqn.primitive is _drop_p
            or any(map(self.opens, parts.parts_of(eqn)))
            for eqn in parts.opened(program).eqns
        )

    def mark(self, eqn: Any, values: list[Any]) -> tuple[Any, Records]:
        x, place = values[0], eqn.params["place"]
        if layer(eqn.params["number"]) != self.site:
            return x, {}
        if place == "in" and self._input is None:
            self._input = x
        if place == "out" and self._input is not None:
            given, self._input = self._input, None
            if (given.shape, given.dtype) == (x.shape, x.dtype):
                self.left_out = True
                return given, {}
        return x, {}

    def draw(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        if eqn.primitive is _drop_p and site_of(eqn, place) == self.site:
            self.left_out = True
            return [values[0]], {}
        return parts.bind(eqn, values), {}


def _compiled(program: Program, site: Site | None) -> Any:
    """Return a step without a dropout, compiled and warm; None if it cannot be left out."""
    variables, streams = jax.tree.leaves(program.variables), jax.tree.leaves(program.streams)
    floats = [i for i, v in enumerate(variables) if jnp.issubdtype(v.dtype, jnp.floating)]
    run = _Without(site)

    def loss(learned: list[Any], streams: Any, key: Any, arrays: Any) -> Any:
        now = dict(zip(floats, learned, strict=True))
        given = [now.get(i, v) for i, v in enumerate(variables)]
        outs, _ = run.run(program.traced, [*given, *streams, key, *arrays])
        sums = [
            jnp.sum(o.astype(jnp.float32)) for o in outs if jnp.issubdtype(o.dtype, jnp.floating)
        ]
        return sum(sums, jnp.float32(0))

    step = jax.jit(jax.grad(loss))
    args = [variables[i] for i in floats], streams, jax.random.key(0), program.arrays
    compiled = step.lower(*args).compile()
    if not run.left_out:
        return None
    jax.block_until_ready(compiled(*args))
    return lambda: compiled(*args)
