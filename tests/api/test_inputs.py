"""What a caller passes becomes settings and pictures, or one line that says what is wrong."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GCNConv, global_mean_pool

from cl_as_gnn.api.inputs import data_of, encoder_of, nested
from cl_as_gnn.config import build_config
from cl_as_gnn.datasets import load_graphs, load_images
from cl_as_gnn.datasets.given import keep, node_tensors
from cl_as_gnn.encoders import ENCODERS, Inputs, build_encoder
from cl_as_gnn.errors import AbsentError, ConfigError

IMAGES = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = ["cat", "dog"] * 20


class Photos(Dataset):
    """Pictures of two sizes with labels by number, whose names it knows."""

    classes = ("dark", "light")

    def __len__(self):
        return 24

    def __getitem__(self, i):
        pixels = np.random.default_rng(i).integers(0, 128, (20, 24 + i % 2, 3), dtype=np.uint8)
        return Image.fromarray(pixels + 127 * (i % 2 == 1)), i % 2


class Random(Photos):
    def __getitem__(self, i):
        return torch.rand(3, 8, 8), 0


def read(given, **settings):
    return load_images(build_config({"data": {**given.settings, **settings}}).data, False)


def test_tensors_and_floats_keep_their_pixels_and_labels_their_names():
    given = data_of((IMAGES, LABELS))
    data = read(given, validation=0)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.test), data.image_size) == (30, 10, 8)
    rows = [int(name.split()[1]) for name in data.test.files]
    assert torch.equal(data.test.images, IMAGES[rows])
    assert [data.classes[i] for i in data.test.labels] == [LABELS[row] for row in rows]
    for same in ((IMAGES / 255, LABELS), (IMAGES.numpy(), np.array(LABELS)), TensorDataset(IMAGES)):
        other = data_of(same)
        alike = other.settings["content"] == given.settings["content"]
        assert alike == isinstance(same, tuple)
        train = read(other, validation=0).train
        assert torch.equal(train.images[0], IMAGES[int(train.files[0].split()[1])])


def test_datasets_of_pictures_and_splits():
    data = read(data_of(Photos()), image_size=16, validation=0)
    assert data.classes == ("dark", "light")
    assert data.train.aspect.min() > 1
    assert float(data.train.images[data.train.labels == 1].float().mean()) > 150
    splits = {"train": (IMAGES[:20], [0, 1] * 10), "test": (IMAGES[20:30], [0, -1] * 5), "unlabeled": IMAGES[30:]}
    data = read(data_of(splits), validation=0)
    assert (len(data.train), len(data.test), int((data.train.labels < 0).sum())) == (30, 5, 10)
    gray = read(data_of(torch.rand(12, 9, 9)))
    assert (gray.channels, gray.image_size, gray.classes) == (1, 9, ())


def test_nodes_and_graphs():
    edges = torch.tensor([[0, 1, 2, 2], [1, 0, 1, 2]])
    graph = Data(x=torch.randn(3, 4), edge_index=edges, y=torch.tensor([7, -1, 3]), train_mask=torch.arange(3) < 1)
    given = data_of(graph)
    config = build_config({"data": given.settings})
    assert (config.data.normalize, config.method.name, config.encoder.name) == (False, "cca_ssg", "gnn")
    nodes = load_graphs(config.data)
    assert nodes.graph.y.tolist() == [1, -1, 0]
    assert nodes.graph.edge_index.size(1) == 3  # without the self-loop
    assert [mask.tolist() for mask in (nodes.train, nodes.test)] == [[True, False, False], [False, False, True]]
    y = torch.arange(2).repeat(50)
    drawn = node_tensors(Data(edge_index=torch.randint(100, (2, 300)), y=y, num_nodes=100))
    assert [int(drawn[f"{name}_mask"].sum()) for name in ("train", "val", "test")] == [10, 10, 80]
    pair = [Data(x=graph.x, edge_index=edges, y=torch.tensor(label)) for label in (1, 0)]
    given = data_of(pair)
    graphs = load_graphs(build_config({"data": given.settings}).data)
    assert graphs.graph.batch.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES.float(), "float images from 0 to 255, expects 0 to 1"),
        (IMAGES.long(), "images of torch.int64, expects uint8"),
        (IMAGES[:, :2], r"images of shape \(40, 2, 8, 8\), expects \(N, C, H, W\)"),
        ((IMAGES, [0]), "there are 1 labels for 40 images"),
        ({"train": IMAGES, "tset": IMAGES}, "expects train, and perhaps validation, test, unlabeled, got train, tset"),
        (Random(), "item 0 differs from read to read: leave out random transforms"),
        ("digts", "did you mean 'digits'"),
        ("no/such/folder", "there is no such folder"),
        (3, "cannot read a int"),
        (Data(x=torch.zeros(2, 1), edge_index=torch.tensor([[0], [5]]), num_nodes=2), "names node 5 of 2 nodes"),
        (Data(x=torch.zeros(2, 1), edge_index=torch.zeros(2, 0).long(), y=torch.zeros(2, 3)), "one whole number per"),
    ],
)
def test_a_mistake_is_one_line(data, message):
    with pytest.raises(ConfigError, match=message) as caught:
        data_of(data)
    assert "\n" not in str(caught.value)


def test_data_live_as_long_as_somebody_keeps_them_or_a_folder_does(tmp_path):
    given = data_of((IMAGES, LABELS))
    config = build_config({"data": given.settings}).data
    before, settings = load_images(config), given.settings
    keep(config, tmp_path / "data.safetensors")
    del given
    with pytest.raises(AbsentError, match="pass them again"):
        load_images(config)
    after = load_images(build_config({"data": {**settings, "root": tmp_path / "data.safetensors"}}).data)
    for name in ("train", "validation", "test"):
        one, two = getattr(before, name), getattr(after, name)
        assert torch.equal(one.images, two.images)
        assert (one.labels.tolist(), tuple(one.files)) == (two.labels.tolist(), tuple(two.files))
    assert before.classes == after.classes


class Made(nn.Sequential):
    """Can be made again without arguments."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(16, 3))


def built(settings, channels=1, side=4, pool=None):
    config = ENCODERS[settings["name"]].Config.model_validate(settings)
    return build_encoder(config, Inputs(channels, side, pool))


def test_a_module_is_copied_and_made_again_by_its_class_if_that_can_be(monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    given = encoder_of(net, graphs=False)
    encoder = built(given.settings)
    assert encoder.out_dim == 3
    assert torch.equal(encoder.network[1].weight, net[1].weight)
    assert encoder.network[1].weight is not net[1].weight
    settings = given.settings
    assert settings["source"] is None  # nn.Sequential() is another module
    del given, encoder
    with pytest.raises(AbsentError, match="encoder=module"):
        built(settings)
    module = ModuleType("mine")
    module.Made, Made.__module__ = Made, "mine"
    monkeypatch.setitem(sys.modules, "mine", module)
    settings = encoder_of(Made(), graphs=False).settings
    assert settings["source"] == "mine:Made"
    assert built(settings).out_dim == 3


class Pooled(nn.Module):
    """Features of graphs, from the whole Data."""

    def __init__(self):
        super().__init__()
        self.conv = GCNConv(4, 6)

    def forward(self, data):
        return global_mean_pool(self.conv(data.x, data.edge_index), data.batch)


def test_gnns_of_nodes_and_of_graphs():
    graph = Data(x=torch.randn(5, 4), edge_index=torch.tensor([[0, 1], [1, 0]]), batch=torch.tensor([0, 0, 1, 1, 1]))
    graph.num_graphs = 2
    for net, pool, rows in ((GCN(4, 8, 2, 6), None, 5), (GCN(4, 8, 2, 6), "mean", 2), (Pooled(), "sum", 2)):
        given = encoder_of(net, graphs=True)
        encoder = built(given.settings, 4, None, pool).eval()
        assert encoder(graph).shape == (rows, 6)
    given = encoder_of(nn.Linear(4, 2), graphs=True)
    with pytest.raises(ConfigError, match=r"expects forward\(x, edge_index\), forward\(x, edge_index, batch\)"):
        built(given.settings, 4, None)


def test_settings_with_dots_and_nested():
    tree = nested({"optim.lr": 1, "trainer": {"epochs": 2}, "data.augment.flip": 0, "data": {"augment": {"rotate": 5}}})
    augment = {"flip": 0, "rotate": 5}
    assert tree == {"optim": {"lr": 1}, "trainer": {"epochs": 2}, "data": {"augment": augment}}


def test_every_pixel_of_tensors_is_in_the_digest():
    images = torch.zeros(2000, 1, 4, 4, dtype=torch.uint8)
    before = data_of(images).settings["content"]
    assert data_of(images.clone()).settings["content"] == before
    for row in (1, 999, 1998):
        changed = images.clone()
        changed[row, 0, 3, 3] = 1
        assert data_of(changed).settings["content"] != before, row
