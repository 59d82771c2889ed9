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


class Place(NamedTuple):
    """Where an equation stands."""

    layer: int | None = None
    """The number of the innermost layer that runs it, None outside of all."""
    line: str = "?"
    """File and line of the user's that called the program it is in."""

    def at(self, eqn: Any) -> "Place":
        """Return the place of an equation, and of the programs in it, where this one is around."""
        _, found, name = str(eqn.source_info.name_stack).rpartition(_SCOPE)
        number = int(name.partition("/")[0].strip(")")) if found else self.layer
        # What is in a compiled function may have been traced for another call of it.
        return Place(number, _line(eqn) or self.line if parts.parts_of(eqn) else self.line)


TOP = Place()
"""Of the program itself."""


def site_of(eqn: Any, place: Place) -> Site | None:
    """Return the dropout that an equation is, if no layer runs it; None for any other equation.

    These are the functions of jaxdrop and ``jax.random.bernoulli``, of which everybody's dropouts
    are made. Other draws (noise, samples of a variational model) are meant to stay on in test mode.
    """
    if place.layer is not None:
        return None
    if eqn.primitive in (_drop_p, _bits_p):
        return Site("jaxdrop function", _line(eqn) or place.line)
    if eqn.primitive.name in parts.CALLS and eqn.params.get("name") == "_bernoulli":
        return Site("jax.random.bernoulli", _line(eqn) or place.line)
    return None


def is_draw(eqn: Any) -> bool:
    """Return whether an equation draws anything at all."""
    return eqn.primitive in (_drop_p, _bits_p) or eqn.primitive.name in _DRAWS


def has_sites(program: Any) -> bool:
    """Return whether anything in a program is a mark or draws."""
    return any(
        eqn.primitive is mark_p or is_draw(eqn) or any(map(has_sites, parts.parts_of(eqn)))
        for eqn in parts.opened(program).eqns
    )


def _line(eqn: Any) -> str:
    """Return file and line of the innermost frame that is not in jax, flax or jaxdrop, or ""."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith(_LIBRARIES):
            return f"{pathlib.Path(frame.file_name).name}:{frame.line_num}"
    return ""
