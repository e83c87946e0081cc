"""Runs from Python: on data in memory, with a module and callbacks of the caller."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Callback
from sklearn.datasets import load_digits
from torch import nn
from torch_geometric.data import Data

import cl_as_gnn
from cl_as_gnn.errors import AbsentError, ConfigError
from cl_as_gnn.training.module import ContrastiveModule

SMALL = {"eval.draws": 1, "eval.baselines": False, "eval.online_size": 50, "trainer.batch_size": 64}


@pytest.fixture(scope="module")
def pair():
    pixels, labels = load_digits(n_class=2, return_X_y=True)
    return torch.tensor(pixels / 16).float().view(-1, 1, 8, 8), labels


@pytest.fixture(scope="module")
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16))


class Counter(Callback):
    """Counts epochs."""

    epochs = 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict):
        self.epochs = state_dict["epochs"]


@pytest.fixture(scope="module")
def run(pair, net, tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "run"
    given = {"epochs": 3, "settings": SMALL, "progress": False, "callbacks": [Counter()]}
    return cl_as_gnn.train(pair, "gcn", net, run_dir=path, **given)


def test_a_run_knows_its_numbers_and_embeds(run, pair, net):
    assert isinstance(run.encoder, nn.Sequential)
    assert not torch.equal(run.encoder[1].weight, net[1].weight)
    assert len(run.history) == run.metrics["epochs"] == 3
    features = run.embed(pair[0])
    torch.testing.assert_close(run.encoder(run.prepare(pair[0])).detach(), features)
    torch.testing.assert_close(run.embed((pair[0][:3] * 255).round().byte()), features[:3])
    own = run.features()
    assert len(own["train"]) + len(own["test"]) == len(features)
    assert repr(run).startswith(f"Run('{run.path}', gcn on given: kNN ")


def test_training_starts_from_the_weights_that_are_passed_also_while_an_older_run_is_kept(run, pair, net, tmp_path):
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
    settings = SMALL | {"optim.lr": 1e-12, "optim.weight_decay": 0.0}
    new = cl_as_gnn.train(pair, "simclr", other, epochs=1, settings=settings, run_dir=tmp_path / "b", progress=False)
    assert run.config.encoder.module == new.config.encoder.module
    torch.testing.assert_close(new.encoder[1].weight, other[1].weight)
    assert not torch.allclose(new.encoder[1].weight, net[1].weight)


def test_the_graphs_of_a_run(run):
    graph = run.graph(samples=10)
    assert graph["view"].x.shape == (20, 128)
    assert graph["sample", "affinity", "sample"].edge_index.max() < 10
    near = run.neighbors(k=3)
    assert (near.num_edges, near.y.unique().tolist()) == (3 * len(near.x), [0, 1])


def test_select_and_label(run, pair):
    names = run.select(budget=6)
    rows = run.label({int(name.split()[1]): f"digit {pair[1][int(name.split()[1])]}" for name in names})
    right = [row["label"] == f"digit {pair[1][int(row['file'].split()[1])]}" for row in rows]
    assert len(rows) == len(pair[1])
    assert sum(right) / len(right) > 0.9
    assert (run.path / "labeled.html").is_file()


def test_a_stopped_run_resumes_to_the_same_numbers_with_the_same_objects(
    run, pair, net, tmp_path, monkeypatch, same_numbers
):
    step, path = ContrastiveModule.training_step, tmp_path / "part"

    def stop(self, batch, batch_idx):
        if self.trainer.current_epoch == 2:
            raise KeyError("the power went")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ContrastiveModule, "training_step", stop)
        with pytest.raises(KeyError):
            cl_as_gnn.train(
                pair, "gcn", net, epochs=3, settings=SMALL, run_dir=path, progress=False, callbacks=[Counter()]
            )
    again = {"resume": path, "progress": False}
    with pytest.raises(ConfigError, match=r"with the callback Counter"):
        cl_as_gnn.train(pair, encoder=net, **again)
    with pytest.raises(ConfigError, match=r"^data: what you pass is not that of the run, which has data.content="):
        cl_as_gnn.train(pair[0], encoder=net, callbacks=[Counter()], **again)
    with pytest.raises(ConfigError, match=r"^encoder: what you pass .* not Linear-"):
        cl_as_gnn.train(pair, encoder=nn.Linear(64, 16), callbacks=[Counter()], **again)
    watcher = Counter()
    resumed = cl_as_gnn.train(pair, encoder=net, callbacks=[watcher], **again)
    same_numbers(run.path, path)
    assert watcher.epochs == 3
    assert resumed.metrics["knn_top1"] == run.metrics["knn_top1"]


def test_a_run_is_read_again_from_its_folder_and_a_module_is_asked_for(run, net, monkeypatch):
    before = run.features()
    monkeypatch.setattr("cl_as_gnn.held._HELD", {})  # another session
    alone = cl_as_gnn.load(run.path)
    with pytest.raises(AbsentError, match=r"was a module of a Python session: pass it again"):
        _ = alone.encoder
    again = cl_as_gnn.load(run.path, encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 16)))
    after = again.features()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nodes_without_labels(tmp_path):
    torch.manual_seed(0)
    data = Data(x=torch.randn(30, 5), edge_index=torch.randint(30, (2, 90)))
    run = cl_as_gnn.train(data, "simclr", epochs=2, run_dir=tmp_path / "run", progress=False)
    assert 0 <= run.metrics["view_agreement"] <= 100
    assert "knn_top1" not in run.metrics
    assert set(run.metrics["baselines"]) == {"untrained encoder"}
    assert len(run.features()["nodes"]) == len(run.embed(data)) == 30
    assert run.graph().num_views == 2
    page = run.report().read_text()
    assert "No pictures" not in page
    assert 'class="feature-map"' in page
    assert "view agreement" in cl_as_gnn.load(run.path).metrics["protocol"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 1e-3}, r"unknown setting lr=0.001: write settings=\{'optim.lr': 0.001\}"),
        ({"colour": 1}, "unknown setting colour=1: the top has data"),
        ({"trainer": {"epoch": 3}}, r"unknown setting trainer.epoch=3: did you mean trainer.epochs\?"),
        ({"method": "simcrl"}, "did you mean 'simclr'"),
        ({"settings": 3}, "settings=3: expects a mapping"),
        ({"resume": "nowhere"}, "no run folder nowhere"),
    ],
)
def test_a_mistake_is_one_line(given, message):
    with pytest.raises(ConfigError, match=message) as caught:
        cl_as_gnn.train(**given)
    assert "\n" not in str(caught.value)


def test_several_processes_need_a_script(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(ConfigError, match="each process runs the script again"):
        cl_as_gnn.train("digits", trainer={"devices": 2}, run_dir=tmp_path / "run")


def test_the_package_is_cheap_to_import():
    code = (
        "import sys, cl_as_gnn; assert not {'torch', 'pydantic'} & set(sys.modules); print(len(dir(cl_as_gnn.train)))"
    )
    words = [sys.executable, "-c", code.rpartition("; ")[0]]
    assert subprocess.run(words, check=False).returncode == 0
