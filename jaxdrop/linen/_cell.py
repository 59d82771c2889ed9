"""What the Linen modules around an RNN cell share."""

from typing import Any

from flax import linen as nn

from jaxdrop.linen._layer import DropoutLayer


class CellWrapper(DropoutLayer, nn.RNNCellBase):
    """A wrapper around a cell that leaves its carry and its parameters what and where they are."""

    cell: nn.RNNCellBase

    def __post_init__(self) -> None:
        if not isinstance(self.cell, nn.Module):
            raise TypeError(
                f"got cell={self.cell!r:.60} of type {type(self.cell).__name__}; "
                f"{type(self).__name__} takes an RNN cell, such as nn.LSTMCell(64), and the rate "
                "after it"
            )
        super().__post_init__()

    def setup(self) -> None:
        nn.share_scope(self, self.cell)

    @nn.nowrap
    def initialize_carry(self, *args: Any, **kwargs: Any) -> Any:
        """Return the initial carry of the wrapped cell."""
        return self.cell.initialize_carry(*args, **kwargs)

    @property
    def num_feature_axes(self) -> int:
        return self.cell.num_feature_axes

    @nn.nowrap
    def _step_key(self, rng: Any, setting: str) -> Any:
        """The key of a step, or an error that says how ``nn.RNN`` passes it on."""
        name = self.rng_collection
        # Flax falls back on "params", whose key is the same at every step and in every call.
        if rng is None and not (self.has_rng(name) or self.is_initializing()):
            raise ValueError(
                f"{type(self).__name__} found no rng named {name!r}. Pass rngs={{{name!r}: key}} "
                "to apply, and inside nn.RNN pass it on: nn.RNN(cell, split_rngs={'params': False, "
                f"{name!r}: ...}}) with {setting}"
            )
        return self._key(rng)
