"""rows_of: one row for each dropout, from its programs, its masks and its keys."""

import itertools
from typing import Any, NamedTuple

import numpy as np

import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop.linen._dropout import FlaxDropout as FlaxLinenDropout
from jaxdrop.nnx._dropout import FlaxDropout as FlaxNNXDropout
from jaxdrop.surgery._audit_laws import (
    Keys,
    decisions,
    have_common_key,
    one_key_twice,
    rate_p_value,
    same_in_steps,
    shared_by_calls,
    shared_by_rows,
)
from jaxdrop.surgery._audit_programs import Program
from jaxdrop.surgery._audit_record import keys_of
from jaxdrop.surgery._audit_report import FALSE_ALARM, AuditRow
from jaxdrop.surgery._audit_sites import Site, layer
from jaxdrop.surgery._audit_watch import Layer, Watch
from jaxdrop.surgery._where import Path

Masks = list[list[np.ndarray]]  # of a dropout: for each step, for each place, [calls, ...]


def _both(*names: str) -> tuple[type, ...]:
    return tuple(getattr(p, name) for name in names for p in (jaxdrop.linen, jaxdrop.nnx))


_MASKS = (FlaxLinenDropout, FlaxNNXDropout, *_both("DropPath", "SpatialDropout", "LockedDropout"))
"""Given ones, they return their mask, whose decisions are independent."""
_PATTERNS = (
    *_MASKS,
    *_both("AlphaDropout", "FeatureAlphaDropout", "GaussianDropout", "GaussianNoise"),
    *_both("DropBlock", "Cutout"),
)
"""Given ones, they return something random of the same shape, of its own for each example."""
_BRANCHES = _both("DropPath", "DropPathSubset", "LayerDrop")
"""They drop whole branches, which people do before batch norms."""
_REPEATS = {"scan", "vmap", "shard_map"}


class _Known(NamedTuple):
    """What is known of a dropout before it runs."""

    path: Path
    kind: str
    rate: Any
    is_pattern: bool
    is_even: bool  # whether all decisions have one probability, by which orders are equally likely
    is_counted: bool
    drops_branch: bool


class _Seen(NamedTuple):
    """What is known of it from its masks."""

    by_examples: bool | None = None
    by_calls: bool | None = None
    counted: tuple[Any, Any, Any] = None, None, None


def rows_of(
    watch: Watch,
    training: Program,
    test: Program,
    found: dict[Site, Masks],
    times: dict[Site, tuple[float, float]],
) -> list[AuditRow]:
    """Return a row for each dropout: the layers in the model's own order, for Linen that of the
    call, then all others.
    """
    sites = {layer(at.number): _of_layer(at) for at in watch.layers.values()}
    for site in sorted((training.called.met | test.called.met) - set(sites)):
        sites[site] = _Known((site.place,), site.kind, None, True, True, False, False)
    keys = {site: _keys(found[keys_of(site)]) for site in sites if keys_of(site) in found}
    partners, flow = _partners(keys), training.flow
    limit = FALSE_ALARM / max(1, len(sites))
    rows = []
    for site, known in sites.items():
        seen = _Seen()
        if site in found and known.is_pattern:
            seen = _look(found[site], keys.get(site), known, limit)
        rows.append(
            AuditRow(
                path=known.path,
                kind=known.kind,
                rate=known.rate,
                dropped=seen.counted[0],
                decisions=seen.counted[1],
                p_value=seen.counted[2],
                called=site in training.called.met | test.called.met,
                used=site in flow.met or site not in training.called.met,
                drops_in_training=site in flow.live,
                drops_in_test=site in test.flow.live,
                same_every_step=same_in_steps(keys[site]) if site in keys else None,
                shared_by_examples=seen.by_examples,
                shared_by_calls=seen.by_calls,
                repeated_by=tuple(sorted(flow.repeated.get(site, set()) & _REPEATS)),
                shared_with=tuple(sites[s].path for s in partners.get(site, ())),
                before_batch_norm=site in flow.before_norm & flow.live,
                undone=site in flow.undone & flow.live,
                drops_branch=known.drops_branch,
                time_share=times.get(site),
            )
        )
    return rows


def _of_layer(at: Layer) -> _Known:
    one_rate = at.rate is not None and not isinstance(at.rate, tuple) and np.ndim(at.rate) == 0
    return _Known(
        at.path,
        at.kind,
        at.rate,
        is_even=one_rate,
        is_pattern=at.is_attention or issubclass(at.type, _PATTERNS),
        is_counted=one_rate and (at.is_attention or issubclass(at.type, _MASKS)),
        drops_branch=issubclass(at.type, _BRANCHES),
    )


def _look(steps: Masks, keys: Keys | None, known: _Known, limit: float) -> _Seen:
    """Look at the masks of a dropout in each step.

    Where it is called in several places with other shapes, the first counts.
    """
    shape = steps[0][0].shape[1:]
    masks = [np.concatenate([a for a in places if a.shape[1:] == shape]) for places in steps]
    rows = decisions(masks, 2)
    own = decisions(rows, 1)
    twice = keys is not None and one_key_twice(keys)
    by_calls = True if twice else shared_by_calls(own, limit)
    seen = _Seen(shared_by_rows(rows, limit), by_calls)
    if not known.is_even:  # equal masks prove nothing then, different ones do
        seen = _Seen(seen.by_examples and None, by_calls if twice else by_calls and None)
    if not keys or not known.is_counted:  # nothing is drawn, or it has no law
        return seen
    if same_in_steps(keys):  # what repeats counts once
        own = own[:1]
    if by_calls:
        own = [calls[:1] for calls in own]
    return seen._replace(counted=rate_p_value(own, float(known.rate)))


def _keys(steps: Masks) -> Keys:
    return [[key.tobytes() for keys in places for key in keys] for places in steps]


def _partners(keys: dict[Site, Keys]) -> dict[Site, list[Site]]:
    found: dict[Site, list[Site]] = {}
    for a, b in itertools.combinations(keys, 2):
        if have_common_key(keys[a], keys[b]):
            found.setdefault(a, []).append(b)
            found.setdefault(b, []).append(a)
    return found
