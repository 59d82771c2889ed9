"""stack_of: the leading axes that nnx.vmap gave to what a module holds."""

from typing import Any

from flax import nnx

from jaxdrop.surgery._find import Path

# Of flax's layers: the parameter, and how many axes it has in a layer by itself.
_AXES: list[tuple[Any, str, Any]] = [
    (nnx.Linear, "kernel", lambda layer: 2),
    (nnx.LinearGeneral, "kernel", lambda m: len((*m.batch_axis, *m.in_features, *m.out_features))),
    ((nnx.Conv, nnx.ConvTranspose), "kernel", lambda layer: len(layer.kernel_size) + 2),
    (nnx.Embed, "embedding", lambda layer: 2),
    ((nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm), "scale", lambda layer: 1),
    (nnx.BatchNorm, "mean", lambda layer: 1),
]


def stack_of(model: nnx.Module, path: Path) -> tuple[int, ...]:
    """Return the shape of the stack that a module is in, such as (12,) for twelve layers, or ().

    A stack made by ``nnx.vmap`` and run by ``nnx.scan`` or ``nnx.vmap`` has an axis more in every
    variable. Its shape is seen by the streams of keys, else by flax's layers, within the module or
    within the nearest one around it that has any.
    """
    streams: list[tuple[Path, tuple[int, ...]]] = []
    layers: list[tuple[Path, tuple[int, ...]]] = []
    for at, node in nnx.iter_graph(model):
        if isinstance(node, nnx.RngStream):
            streams.append((at, node.key[...].shape))
        for kind, name, axes in _AXES:
            if isinstance(node, kind) and getattr(node, name) is not None:
                shape = getattr(node, name)[...].shape
                layers.append((at, shape[: len(shape) - axes(node)]))
    for length in range(len(path), -1, -1):
        for evidence in (streams, layers):
            found = {shape for at, shape in evidence if at[:length] == path[:length]}
            if len(found) == 1:
                return found.pop()
            if found:
                return ()
    return ()
