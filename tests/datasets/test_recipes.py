"""Which recipe views follow where a config leaves it open."""

import pytest

from cl_as_gnn.config import AugmentConfig
from cl_as_gnn.datasets import DATASETS
from cl_as_gnn.datasets.recipes import BYOL, MOCO, completed, recipe_of, told
from cl_as_gnn.methods import METHODS


@pytest.mark.parametrize(
    ("name", "side", "method", "recipe"),
    [
        ("folder", 64, "gcn", None),
        ("folder", 65, "gcn", MOCO),
        ("hf", 224, "simsiam", MOCO),
        ("folder", 64, "byol", None),
        ("torchvision/EuroSAT", 65, "byol", BYOL),
        ("folder", 224, "vicreg", BYOL),
        ("folder", 224, "barlow", BYOL),
        ("stl10", 96, "byol", None),  # it has a recipe of its own
    ],
)
def test_the_recipe_follows_the_size_and_the_method(name, side, method, recipe):
    assert recipe_of(DATASETS[name], side, METHODS[method].unequal_views) is recipe


def test_given_settings_go_over_the_recipe_and_are_told():
    augment = completed(BYOL.augment, AugmentConfig.model_validate({"flip": 0.5, "blur": 0.0, "local_views": 2}))
    assert augment == BYOL.augment.model_copy(update={"blur": 0.0, "local_views": 2})
    line = told(BYOL, augment)
    assert line.startswith("views as of BYOL, Barlow Twins, VICReg (data.augment: crop_scale=[0.08,1.0] jitter=")
    assert line.endswith(" solarize=[0.0,0.2] local_views=2)")
    assert "flip" not in line
