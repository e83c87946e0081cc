import pytest

from cl_as_gnn.config import build_config, load_config, read_yaml, to_yaml
from cl_as_gnn.encoders import GNNConfig
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.registry import DATASETS, METHODS


def test_images_have_none_here():
    assert DATASETS["digits"].recipe({}, None) == {}
    assert DATASETS["cifar10"].recipe({"name": "cifar10"}, "simclr") == {}
    assert not isinstance(load_config().encoder, GNNConfig)


def test_settings_of_data_set_and_method_lie_over_each_other():
    cora = load_config(None, ["data.name=cora", "method.name=simclr"])
    assert cora.encoder.conv == "gcn"
    assert (cora.encoder.projector_layers, cora.encoder.out_width, cora.encoder.num_layers) == (0, 256, 2)
    assert (cora.trainer.epochs, cora.optim.name, cora.optim.lr) == (100, "adam", 1e-3)
    assert (cora.data.augment.drop_edge, cora.data.augment.mask_feature) == (0.4, 0.1)
    named = load_config(None, ["data.name=planetoid", "data.dataset=CiteSeer", "method.name=simclr"])
    assert named.encoder == load_config(None, ["data.name=citeseer", "method.name=simclr"]).encoder
    assert load_config(None, ["data.name=planetoid"]).encoder == load_config(None, ["data.name=cora"]).encoder


def test_what_a_user_says_goes_over_it(tmp_path):
    settings = ["data.name=cora", "encoder.width=64", "trainer.epochs=3", "data.augment.drop_edge=0.1", "optim.lr=0.1"]
    config = load_config(None, settings)
    assert (config.encoder.width, config.trainer.epochs, config.optim.lr) == (64, 3, 0.1)
    assert config.data.augment.drop_edge == 0.1
    assert config.encoder.conv == "gcn", "what is left open comes from the recipe still"


def test_resolved_settings_are_written_and_read_back_alike(tmp_path):
    config = load_config(None, ["data.name=tu", "encoder.pool=mean", "method.name=byol"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert read_yaml(tmp_path / "config.yaml")["encoder"]["jk"] == "cat"
    again = load_config(tmp_path / "config.yaml")
    assert again == config
    assert again.digest == config.digest


@pytest.mark.parametrize("data", ["karate", "communities", "cora", "citeseer", "pubmed", "planetoid", "tu"])
def test_every_method_has_a_config_on_every_graph(data):
    for name in METHODS:
        assert build_config({"data": {"name": data}, "method": {"name": name}}).method.name == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["data.name=cora", "encoder.name=small"],
            "encoder.name=small reads images, and data.name=cora holds nodes: use",
        ),
        (["data.name=cora", "encoder.name=small"], "use encoder.name=gnn"),
        (
            ["encoder.name=gnn"],
            "encoder.name=gnn reads nodes and graphs, and data.name=digits holds images: use encoder.name=",
        ),
        (["data.name=cora", "encoder.conv=gaat"], "unknown value 'gaat' (encoder.conv=gaat): did you mean 'gat'?"),
        (["data.name=corra"], "unknown data set 'corra' (data.name=corra): did you mean 'cora'?"),
        (["data.name=cora", "data.image_size=8"], "unknown setting data.image_size=8: data has name, root, dataset"),
        (["data.name=cora", "data.augment.crop_scale=1"], "unknown setting data.augment.crop_scale=1"),
        (["data.name=cora", "data.augment.drop_egde=.1"], "did you mean data.augment.drop_edge?"),
        (["data.name=cora", "data.augment.drop_edge=1.5"], "data.augment.drop_edge=1.5: expects at most 1"),
        (["data.name=cora", "data.augment.drop_edge=[0.1]"], "data.augment.drop_edge=[0.1]: expects a list of 2"),
        (["data.name=cora", "data.augment.drop_edge=[0, 0, 0]"], "drop_edge=[0, 0, 0]: expects a list of 2"),
        (["data.name=cora", "data.augment.drop_edge=[0.1, 3]"], "data.augment.drop_edge=3: expects at most 1"),
        (["data.name=cora", "data.augment.drop_node=.1"], "a node must be in every view"),
        (
            ["data.name=cora", "data.dataset=Cora"],
            "data.dataset=Cora is for data.name=planetoid, amazon, coauthor, ogb, tu",
        ),
        (
            ["data.name=planetoid", "data.dataset=Corra"],
            "unknown value 'Corra' (data.dataset=Corra): did you mean 'Cora'?",
        ),
        (["data.name=cora", "encoder.pool=sum"], "encoder.pool=sum is for whole graphs"),
        (["data.name=cora", "trainer.devices=2"], "trainer.devices=2: a run on a graph takes one device"),
        (["data.name=cora", "encoder.conv=gat", "encoder.width=30"], "make encoder.width a multiple of 4"),
        (["data.name=tu", "encoder.out_width=8"], "drop encoder.out_width"),
        (["encoder.num_layers=3"], "unknown setting encoder.num_layers=3: encoder has"),
        (["data.name=3"], "unknown data set '3' (data.name=3)"),
        (["data=3"], "data=3"),
        (["method.name=dgi", "data.name=cora", "method.num_views=2"], "method.num_views=2"),
    ],
)
def test_a_mistake_is_one_line(settings, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_a_gnn_that_was_named_by_its_convolution_is_read_as_before(tmp_path):
    """Of version 0.2: ``encoder.name=gat``, beside ``method.name=gat``; the digest of a run stays."""
    old = load_config(None, ["data.name=cora", "encoder.name=gat"])
    assert old == load_config(None, ["data.name=cora", "encoder.conv=gat"])
    assert (old.encoder.name, old.encoder.conv) == ("gnn", "gat")
    assert load_config(None, ["data.name=karate"]).digest == "89acb93843", "as metrics.json of version 0.2 has it"
    (tmp_path / "old.yaml").write_text("data: {name: tu}\nencoder: {name: gcn, width: 64}\n")
    assert load_config(tmp_path / "old.yaml").encoder.conv == "gcn"
    assert load_config(tmp_path / "old.yaml", ["encoder.conv=sage"]).encoder.conv == "sage"
    assert load_config(tmp_path / "old.yaml", ["encoder.name=sage"]).encoder.conv == "sage"
