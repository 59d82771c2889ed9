"""The pipeline of docs/parallel.md: what its layers must be given, for the masks of one piece."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

PAGE = Path(__file__).parents[1] / "docs" / "parallel.md"


@pytest.mark.slow
def test_a_layer_without_its_number_or_its_rows_is_another_model() -> None:
    names: dict[str, Any] = {}
    _, pipeline = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(pipeline, PAGE.name, "exec"), names)

    def marks(key: Any, number: Any, power: Any, x: Any, first_row: Any) -> Any:
        layer_key = jax.random.fold_in(key, number)
        return x + power * jaxdrop.dropout(
            layer_key, jnp.ones_like(x), 0.5, index_offset=(first_row,)
        )

    def run(model: str, layer: Any) -> Any:
        powers = 2.0 ** np.arange(names["LAYERS"], dtype=np.float32)
        key, x = jax.random.key(3), jnp.zeros((names["ROWS"], names["WIDTH"]))
        return np.asarray(jax.jit(names[model], static_argnums=0)(layer, key, powers, x))

    whole = run("whole", marks)
    assert len(np.unique(whole)) > 100  # of 256 sets of masks, in 384 places
    np.testing.assert_array_equal(run("piped", marks), whole)
    of_its_rows = run("piped", lambda key, number, w, x, row: marks(key, number, w, x, 0 * row))
    assert (of_its_rows != whole).any()
    own = names["LAYERS"] // 4
    of_its_stage = run("piped", lambda key, number, w, x, row: marks(key, number % own, w, x, row))
    assert (of_its_stage != whole).any()
