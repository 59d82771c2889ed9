"""Where a traced program drops: marked layers, and dropouts that are written out in it."""

import pathlib
from typing import Any, NamedTuple

import flax
import jax

import jaxdrop
from jaxdrop._core.bits import _bits_p
from jaxdrop._core.masked_scale import _drop_p
from jaxdrop.surgery._audit_marks import mark_p
from jaxdrop.training import _program_parts as parts

_SCOPE = "jaxdrop.surgery.audit."
_DRAWS = {"random_bits", "random_gamma", "rng_bit_generator", "rng_uniform"}
_LIBRARIES = tuple(str(pathlib.Path(str(m.__file__)).parent) for m in (jax, flax, jaxdrop))


class Site(NamedTuple):
    """A dropout of the program: a layer that is known by its number, or a draw that is not."""

    kind: str
    """ "layer", or what draws."""
    place: str
    """The number of a layer, as text; file and line of a draw."""


def scope(number: int) -> Any:
    """Return a name scope for a layer that is known: what is drawn in it is the layer's own."""
    return jax.named_scope(f"{_SCOPE}{number}")


def layer(number: int) -> Site:
    """Return the site of a layer."""
    return Site("layer", str(number))


def site_of(eqn: Any) -> Site | None:
    """Return what an equation draws to drop with; None for any other equation.

    These are the functions of jaxdrop and ``jax.random.bernoulli``, of which everybody's dropouts
    are made. Other draws (noise, samples of a variational model) are meant to stay on in test mode.
    """
    if eqn.primitive in (_drop_p, _bits_p):
        return Site("jaxdrop function", _line(eqn))
    if eqn.primitive.name in parts.CALLS and eqn.params.get("name") == "_bernoulli":
        return Site("jax.random.bernoulli", _line(eqn))
    return None


def is_draw(eqn: Any) -> bool:
    """Return whether an equation draws anything at all."""
    return eqn.primitive in (_drop_p, _bits_p) or eqn.primitive.name in _DRAWS


def layer_around(eqn: Any) -> int | None:
    """Return the number of the innermost layer that runs this equation, None outside of all."""
    _, found, name = str(eqn.source_info.name_stack).rpartition(_SCOPE)
    return int(name.partition("/")[0].strip(")")) if found else None


def has_sites(program: Any) -> bool:
    """Return whether anything in a program is a mark or draws."""
    return any(
        eqn.primitive is mark_p or is_draw(eqn) or any(map(has_sites, parts.parts_of(eqn)))
        for eqn in parts.opened(program).eqns
    )


def _line(eqn: Any) -> str:
    """Return file and line of the innermost frame that is not in jax, flax or jaxdrop."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith(_LIBRARIES):
            return f"{pathlib.Path(frame.file_name).name}:{frame.line_num}"
    return "?"
