"""Recording: run a traced program and return, beside its results, what each of its dropouts did.

Every dropout is given ones: what it returns is then its mask, whatever came before it, also behind
a ReLU, which makes zeros of its own.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.bits import _bits_p
from jaxdrop._core.masked_scale import _drop_p
from jaxdrop.surgery._audit_evaluation import Evaluation, Records
from jaxdrop.surgery._audit_marks import lanes_of
from jaxdrop.surgery._audit_sites import Place, Site, has_sites, layer, site_of
from jaxdrop.training import _program_parts as parts


def keys_of(site: Site) -> Site:
    """Return the name under which the keys of a site are recorded, [calls, words]."""
    return Site(f"keys of {site.kind}", site.place)


class Recording(Evaluation):
    """Runs a program and records masks and keys."""

    def opens(self, program: Any) -> bool:
        return has_sites(program)

    def mark(self, eqn: Any, values: list[Any]) -> tuple[Any, Records]:
        x, *seen = values
        place, number = eqn.params["place"], eqn.params["number"]
        if place == "in" and jnp.issubdtype(x.dtype, jnp.inexact):
            return jnp.ones_like(x), {}
        if place != "out":
            return x, {}
        array = seen[0] if seen else x
        return x, {layer(number): [array.reshape(-1, *array.shape[lanes_of(eqn) :])]}

    def draw(self, eqn: Any, values: list[Any], place: Place) -> tuple[list[Any], Records]:
        site = site_of(eqn, place)
        if site is None:
            around = None if place.layer is None else layer(place.layer)
            return parts.bind(eqn, values), {} if around is None else {
                keys_of(around): [_key(eqn, values)]
            }
        if eqn.primitive is _drop_p:
            values = [jnp.ones_like(values[0]), *values[1:]]
        outs = parts.bind(eqn, values)
        return outs, {site: [outs[0][None]], keys_of(site): [_key(eqn, values)]}


def _key(eqn: Any, values: list[Any]) -> jax.Array:
    """Return what a draw depends on, [calls, words]: its key, and where in the mask it begins."""
    if eqn.primitive not in (_drop_p, _bits_p):
        data = values[0]
        if jnp.issubdtype(data.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(data)
        return data.reshape(-1, data.shape[-1])
    words, *base = values
    if eqn.primitive is _drop_p:
        words, *leaves = base
        base = jax.tree.leaves(jax.tree.unflatten(eqn.params["form"].tree, leaves)[0])
    words = words.reshape(-1, words.shape[-1])
    first = [jnp.full((len(words), 1), n, words.dtype) for n in base if jnp.ndim(n) == 0]
    return jnp.concatenate([words, *first], 1)
