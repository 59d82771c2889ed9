"""What the NNX modules around an RNN cell share."""

from typing import Any

from flax import nnx

from jaxdrop.nnx._layer import DropoutLayer


class CellWrapper(DropoutLayer, nnx.RNNCellBase):
    """A cell around a cell, whose carry stays what it is without it."""

    cell: nnx.RNNCellBase

    def _keep_cell(self, cell: Any) -> None:
        """Keep the cell, or raise a sentence if it is none."""
        if isinstance(cell, type) or not hasattr(cell, "initialize_carry"):
            raise TypeError(
                f"got cell={cell!r:.60} of type {type(cell).__name__}; {type(self).__name__} takes "
                "an RNN cell, such as nnx.LSTMCell, and the rate after it"
            )
        self.cell = cell

    def initialize_carry(self, *args: Any, **kwargs: Any) -> Any:
        """Return the carry of the cell, which is given the arguments."""
        return self.cell.initialize_carry(*args, **kwargs)

    @property
    def num_feature_axes(self) -> int:
        return self.cell.num_feature_axes
