"""The gallery: a panel for each member, drawn by the member."""

import jax
import numpy as np
import pytest

from scripts import gallery_figure
from scripts.members import RECORDS
from scripts.members._panel import N

# A panel of another function stands for it.
NO_PANEL = {"variational_conv"}
NAMES = {case.name for record in RECORDS for case in record.cases}
NAMES |= {record.name for record in RECORDS}


def test_every_member_has_a_panel():
    drawn = {panel.title.split(",")[0].split(" ")[0] for panel in gallery_figure.PANELS}
    assert drawn == NAMES - NO_PANEL
    titles = [panel.title for panel in gallery_figure.PANELS]
    assert len(set(titles)) == len(titles), "a panel's key follows from its title"


@pytest.mark.slow
@pytest.mark.parametrize("panel", gallery_figure.PANELS, ids=lambda p: p.title.split(" ")[0])
def test_a_panel_is_a_square_image_that_varies(panel):
    image = np.asarray(panel.draw(jax.random.key(1)), np.float64)
    assert image.shape == (N, N)
    assert np.isfinite(image).all() and image.std() > 0
