"""What the NNX modules around an RNN cell share."""

from typing import Any

from flax import nnx

from jaxdrop.nnx._layer import DropoutLayer


class CellWrapper(DropoutLayer, nnx.RNNCellBase):
    """A wrapper around a cell that leaves its carry what it is."""

    cell: nnx.RNNCellBase

    def _keep_cell(self, cell: Any) -> None:
        """Keep the cell, or raise an error if it is not one."""
        if isinstance(cell, type) or not hasattr(cell, "initialize_carry"):
            raise TypeError(
                f"got cell={cell!r:.60} of type {type(cell).__name__}; {type(self).__name__} takes "
                "an RNN cell, such as nnx.LSTMCell, and the rate after it"
            )
        self.cell = cell

    def initialize_carry(self, *args: Any, **kwargs: Any) -> Any:
        """Return the initial carry of the wrapped cell."""
        return self.cell.initialize_carry(*args, **kwargs)

    @property
    def num_feature_axes(self) -> int:
        return self.cell.num_feature_axes
