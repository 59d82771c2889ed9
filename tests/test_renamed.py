"""Former names still work, with a warning that gives the new name."""

import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import pytest

import jaxdrop
import jaxdrop.nnx
import jaxdrop.recurrent
import jaxdrop.variational
from jaxdrop._core.renamed import renamed_argument

RENAMED = {
    "jaxdrop.is_recurrent_kernel": "jaxdrop.recurrent.is_recurrent_kernel",
    "jaxdrop.log_alpha": "jaxdrop.variational.log_alpha",
    "jaxdrop.prune": "jaxdrop.variational.prune",
    "jaxdrop.pruned": "jaxdrop.variational.pruned",
    "jaxdrop.variational_kl": "jaxdrop.variational.kl_divergence",
    "jaxdrop.variational_linear": "jaxdrop.variational.local_reparameterization",
    "jaxdrop.variational_loss": "jaxdrop.variational.loss",
    "jaxdrop.variational_sparsity": "jaxdrop.variational.sparsity",
    "jaxdrop.nnx.DropConnectDense": "jaxdrop.nnx.DropConnectLinear",
    "jaxdrop.nnx.VariationalDense": "jaxdrop.nnx.VariationalLinear",
}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_the_new_thing_and_warns(old: str) -> None:
    with pytest.warns(DeprecationWarning) as caught:
        value = eval(old)
    (warning,) = caught
    assert str(warning.message) == f"{old} is now {RENAMED[old]}"
    assert warning.filename in (__file__, "<string>")  # the line to be changed
    assert value is eval(RENAMED[old])


def test_an_old_name_can_be_imported_and_is_not_listed() -> None:
    with pytest.warns(DeprecationWarning, match=r"is now jaxdrop\.nnx\.DropConnectLinear$"):
        from jaxdrop.nnx import DropConnectDense  # type: ignore[attr-defined]
    assert DropConnectDense is jaxdrop.nnx.DropConnectLinear
    assert not {old.rpartition(".")[2] for old in RENAMED} & {*dir(jaxdrop), *dir(jaxdrop.nnx)}


def test_no_other_name_is_found() -> None:
    with pytest.raises(AttributeError, match=r"^module 'jaxdrop.nnx' has no attribute 'Dense'$"):
        getattr(jaxdrop.nnx, "Dense")  # noqa: B009


@pytest.mark.slow
def test_the_warning_is_shown_to_a_script_that_uses_an_old_name() -> None:
    code = "import jaxdrop; jaxdrop.prune"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "DeprecationWarning: jaxdrop.prune is now jaxdrop.variational.prune" in done.stderr


def test_parameters_and_a_carry_were_once_called_x() -> None:
    functions: Any = {"params": jaxdrop.weight_drop, "carry": jaxdrop.recurrent_dropout}
    for new, function in functions.items():
        want = function(None, **{new: jnp.ones(3)}, rate=1.0)
        with pytest.warns(DeprecationWarning, match=rf"\(x=...\) is now \w+\({new}=...\)$"):
            got = function(None, x=jnp.ones(3), rate=1.0)
        assert (got == want).all()


def test_an_argument_is_taken_under_its_old_name_with_a_warning() -> None:
    def half(params: Any, *, by: float = 2.0) -> Any:
        return params / by

    halve: Any = renamed_argument(params="x")(half)

    assert halve(jnp.float32(4)) == halve(params=jnp.float32(4)) == 2
    with pytest.warns(DeprecationWarning, match=r"^half\(x=...\) is now half\(params=...\)$"):
        assert halve(x=jnp.float32(4), by=4.0) == 1
    with pytest.raises(TypeError, match="multiple values for argument 'params'"):
        with pytest.warns(DeprecationWarning):
            halve(jnp.float32(4), x=jnp.float32(4))
