"""The gallery: a panel for each member, drawn by the member."""

import jax
import numpy as np
import pytest

import jaxdrop
from scripts import gallery_figure
from tests.functional.registry import members

# What returns no dropped array, and variational layers that a panel of another one stands for.
NO_PANEL = {
    "concrete_regularizer", "drop_path_rates", "is_recurrent_kernel", "keep_mask", "log_alpha",
    "max_norm", "patch_indices", "prune", "pruned", "r_drop_loss", "random_bits", "recurrent_cell",
    "symmetric_kl", "variational_conv", "variational_kl", "variational_linear", "variational_loss",
    "variational_sparsity",
}  # fmt: skip


def test_every_member_has_a_panel():
    public = {name for name, f in vars(jaxdrop).items() if callable(f) and name[0] != "_"}
    drawn = {panel.title.split(",")[0].split(" ")[0] for panel in gallery_figure.PANELS}
    assert drawn == public - NO_PANEL


def test_every_member_is_in_the_registry_of_the_shared_tests():
    drawn = {panel.title.split(",")[0].split(" ")[0] for panel in gallery_figure.PANELS}
    around_others = {"recurrent_cell", "variational_linear"}  # whose functions are members
    assert {m.name for m in members} == drawn | {"variational_conv"} - around_others


@pytest.mark.parametrize("panel", gallery_figure.PANELS, ids=lambda p: p.title.split(" ")[0])
def test_a_panel_is_a_square_image_that_varies(panel):
    image = np.asarray(panel.draw(jax.random.key(1)), np.float64)
    assert image.shape == (gallery_figure.N, gallery_figure.N)
    assert np.isfinite(image).all() and image.std() > 0
