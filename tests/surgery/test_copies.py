"""What surgery made of a model can be pickled, copied and compared."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from flax import nnx

from jaxdrop import surgery
from tests.surgery.nnx_block import CHANGES, Block, X, block, fingerprint


class Several(nnx.Module):
    """Layers of classes whose making is left to flax, and a metaclass of the user's own."""

    def __init__(self, rngs: nnx.Rngs):
        self.block = Block(rngs)
        self.own = OwnClass(8, 8, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.own(self.block(x))


class OwnMeta(type(nnx.Module)):  # type: ignore[misc]  # mypy takes no call for a base
    pass


class OwnClass(nnx.Linear, metaclass=OwnMeta):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "pickled graph"])
def test_what_was_changed_can_be_pickled_and_copied(name: str, way: str) -> None:
    model = Several(nnx.Rngs(0, dropout=1))
    CHANGES[name](model)
    model.train()
    if way == "pickle":
        again = pickle.loads(pickle.dumps(model))
    elif way == "deepcopy":
        again = copy.deepcopy(model)
    else:
        graphdef, state = nnx.split(model)
        again = nnx.merge(pickle.loads(pickle.dumps(graphdef)), nnx.as_pure(state))
    assert fingerprint(again) == fingerprint(model)
    assert type(again.own) is type(model.own) and nnx.graphdef(again) == nnx.graphdef(model)
    np.testing.assert_array_equal(again(X), model(X))
    if name == "insert":
        assert type(again.own).__name__ == "OwnClass" and isinstance(again.own, OwnClass)


def test_replaced_attention_is_the_same_for_the_same_function() -> None:
    one, two = block(), block()
    surgery.replace(one), surgery.replace(two)
    assert one.attention.attention_fn == two.attention.attention_fn
    assert hash(one.attention.attention_fn) == hash(two.attention.attention_fn)
    surgery.replace(one)
    assert nnx.graphdef(one) == nnx.graphdef(two)  # twice is once
