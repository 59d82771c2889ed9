"""stack_shape: the leading axes that nnx.vmap gave to the variables of a module."""

from typing import Any

from flax import nnx

from jaxdrop.surgery._where import Path

Stack = tuple[int, ...]
_Shapes = list[tuple[Path, Stack]]

# Of flax's layers: a parameter, and how many axes it has in a single layer.
_AXES: list[tuple[Any, str, Any]] = [
    (nnx.Linear, "kernel", lambda layer: 2),
    (nnx.LinearGeneral, "kernel", lambda m: len((*m.batch_axis, *m.in_features, *m.out_features))),
    ((nnx.Conv, nnx.ConvTranspose), "kernel", lambda layer: len(layer.kernel_size) + 2),
    (nnx.Embed, "embedding", lambda layer: 2),
    (nnx.LoRA, "lora_a", lambda layer: 2),
    ((nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm), "scale", lambda layer: 1),
    (nnx.BatchNorm, "mean", lambda layer: 1),
]


def stack_shape(model: nnx.Module, path: Path) -> Stack:
    """Return the shape of the stack that a module is in, such as (12,) for twelve layers, or ().

    A stack made by ``nnx.vmap`` and run by ``nnx.scan`` or ``nnx.vmap`` has one more axis in every
    variable. Its shape is read off the streams of keys, else off flax's layers, within the module
    or within the nearest one around it that has any. Streams that were not split, beside layers
    that were, say nothing.
    """
    streams, layers = _shapes(model)
    return _unsplit(streams, layers, path) or _nearest(streams, layers, path)


def stream_stack_shape(model: nnx.Module, path: Path) -> Stack:
    """Return the shape that a new stream of keys needs there.

    In a stack whose streams were not split it is (), as theirs: what carries or broadcasts the
    others does the same with this one.
    """
    streams, layers = _shapes(model)
    return () if _unsplit(streams, layers, path) else _nearest(streams, layers, path)


def _shapes(model: nnx.Module) -> tuple[_Shapes, _Shapes]:
    """Return the stacks that the streams and that flax's layers show, each with its path."""
    streams, layers = [], []
    for at, node in nnx.iter_graph(model):
        if isinstance(node, nnx.RngStream):
            streams.append((at, node.key[...].shape))
        for kind, name, axes in _AXES:
            if isinstance(node, kind) and getattr(node, name) is not None:
                shape = getattr(node, name)[...].shape
                layers.append((at, shape[: len(shape) - axes(node)]))
    return streams, layers


def _nearest(streams: _Shapes, layers: _Shapes, path: Path) -> Stack:
    for length in range(len(path), -1, -1):
        for shapes in (streams, layers):
            found = {shape for at, shape in shapes if at[:length] == path[:length]}
            if len(found) == 1:
                return found.pop()
        if found:
            return ()
    return ()


def _unsplit(streams: _Shapes, layers: _Shapes, path: Path) -> Stack | None:
    """Return the shape of the stack around the path whose streams were not split, or None.

    Such a module has layers of flax as attributes, all of them stacked, and streams within, none of
    them stacked. The model itself does not count: it is what runs its stacks.
    """
    for length in range(len(path) - 1, 0, -1):
        own = {shape for at, shape in layers if at[:-1] == path[:length]}
        within = {shape for at, shape in streams if at[:length] == path[:length]}
        if len(own) == 1 and within == {()}:
            return own.pop() or None
    return None
