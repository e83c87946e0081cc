"""The picture of a minibatch is the graph that the method builds: same edges, same weights, marked directions."""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch

from cl_as_gnn.config import load_config
from cl_as_gnn.errors import ConfigError
from cl_as_gnn.graph.schema import SAMPLE_AFFINITY, TOKEN_TARGET
from cl_as_gnn.methods import METHODS, Batch
from cl_as_gnn.report import draw_graph, inspect_batch
from cl_as_gnn.report.batch_graph import ATTRACTION, LINK, batch_graph
from cl_as_gnn.report.draw import looks
from cl_as_gnn.report.layout import lay_out
from cl_as_gnn.runs.load import load_method
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import train

TINY = ["encoder.width=8", "encoder.projector_hidden=16", "encoder.projector_dim=8"]
SIZE = 8
IMAGE_METHODS = sorted(name for name, m in METHODS.items() if "images" in m.reads and not m.needs_split)


def build(name):
    config = load_config(None, [*TINY, f"method.name={name}"])
    task = load_task(config, progress=False)
    torch.manual_seed(0)
    method = load_method(config, task)
    for part in method.modules():  # as if memories had been filled
        if hasattr(part, "sample") and hasattr(part, "written"):
            part.push(torch.randn(part.features.shape), torch.arange(len(part.sample)))
    return config, task, method, batch_graph(config, task, method, SIZE)


def heads(figure):
    patches = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    return [type(p.get_arrowstyle()).__name__ == "CurveFilledB" for p in patches]


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_every_edge_of_the_method_is_drawn(name):
    config, task, method, drawn = build(name)
    train_set = task.data.train
    generator = torch.Generator().manual_seed(config.seed)
    sample = torch.randperm(len(train_set), generator=generator)[:SIZE]
    images = task.views()(train_set.images[sample], config.method.num_views, generator)
    batch = Batch(images, sample, 1.0, train_set.labels[sample])
    torch.manual_seed(config.seed)
    method.training = True
    with torch.no_grad():
        data = method.rewire(method.graph(batch), batch)
    relations = {relation.kind: relation for relation in drawn.relations()}
    assert set(data.edge_types) == set(relations) - {ATTRACTION}
    for kind in data.edge_types:
        edges, found = data[kind], relations[kind]
        weight = edges.get("edge_weight", torch.ones(edges.edge_index.size(1))).float()
        assert torch.equal(found.edge_index, edges.edge_index[:, weight > 0])
        torch.testing.assert_close(found.weight, weight[weight > 0])
    figure = draw_graph(drawn, "title")
    lines = 0
    for relation in relations.values():
        if relation.kind == TOKEN_TARGET:  # tokens have no place in the picture
            continue
        once = relation.one_way | (relation.edge_index[0] < relation.edge_index[1])
        seen = once
        if relation.kind == ATTRACTION:  # a mutual pair is seen if either of its edges is heavy enough
            weight = torch.zeros(SIZE, SIZE)
            weight[tuple(relation.edge_index)] = relation.weight
            seen = torch.maximum(weight, weight.t())[tuple(relation.edge_index)] >= 0.1 * weight.max()
        lines += int((once & seen).sum())
    assert len(heads(figure)) == lines
    assert_no_edge_passes_under_another_node(drawn)


def assert_no_edge_passes_under_another_node(drawn):
    layout = lay_out(drawn)
    t = torch.linspace(0, 1, 60).unsqueeze(1).numpy()
    nodes = [(name, i) for name, box in layout.box.items() for i in range(len(box)) if box[i] >= 0]
    for curve in layout.curves:
        first, bend, last = curve.path
        points = (1 - t) ** 2 * first + 2 * t * (1 - t) * bend + t**2 * last
        others = torch.tensor([layout.place[name][i].tolist() for name, i in nodes if (name, i) not in curve.ends])
        under = (torch.from_numpy(points)[:, None] - others[None]).abs().amax(-1) < 0.5
        assert not under.any(), curve.ends


@pytest.mark.parametrize("name", ["simsiam", "moco", "nn_positives"])
def test_one_way_edges_have_arrow_heads(name):
    drawn = build(name)[-1]
    one_way = [relation for relation in drawn.relations() if relation.kind[0] != relation.kind[2]]
    assert one_way
    assert all(relation.one_way.all() and len(relation.weight) for relation in one_way)
    assert sum(heads(draw_graph(drawn))) == sum(len(relation.weight) for relation in one_way)


def test_mutual_edges_have_none():
    drawn = build("simclr")[-1]
    assert drawn.lines() == [f"augmentation (view → view): {2 * SIZE} edges, mutual, weight 1"]
    assert heads(draw_graph(drawn)) == [False] * SIZE


def test_a_mutual_pair_is_as_wide_as_the_larger_of_its_weights():
    drawn = build("gcn")[-1]
    relation = next(r for r in drawn.relations() if r.kind == SAMPLE_AFFINITY)
    weight = torch.zeros(SIZE, SIZE)
    weight[tuple(relation.edge_index)] = relation.weight
    pairs = torch.maximum(weight, weight.t()).triu(1)
    color, patches = looks(drawn)[SAMPLE_AFFINITY][0], draw_graph(drawn).axes[0].patches
    widths = [p.get_linewidth() for p in patches if to_hex(p.get_edgecolor()) == color]
    assert sorted(widths) == pytest.approx(sorted((0.8 + 1.7 * pairs[pairs > 0] / weight.max()).tolist()), rel=1e-5)


def test_attraction_without_an_edge_list_is_read_off_the_operator():
    drawn = build("supcon")[-1]
    y = drawn.labels["sample"]
    same = (y[:, None] == y).fill_diagonal_(False)
    assert torch.equal(same.nonzero().t(), drawn.data[ATTRACTION].edge_index.flip(0))


def test_what_does_not_attract_says_so():
    lines = build("simsiam")[-1].lines()
    assert lines[0].endswith("not attracted along")
    assert "one-way" in lines[1]
    assert "not attracted" not in lines[1]


def test_targets_do_not_attract_where_neighbors_replace_them():
    lines = {line.split(" (")[0]: line for line in build("nnclr")[-1].lines()[1:]}
    assert lines["augmentation"].endswith("not attracted along")
    assert "not attracted" not in lines["rewired"]


def test_a_queue_without_edges_is_named_but_not_drawn():
    drawn = build("moco")[-1]
    assert drawn.lines()[-1] == "queue: 1024 nodes without edges, not drawn"
    assert set(drawn.images) == {"view", "target"}
    assert len(draw_graph(drawn).axes[0].images) == 4 * SIZE


def test_a_trained_run(tmp_path):
    path = tmp_path / "run"
    settings = [*TINY, "trainer.epochs=1", "eval.draws=1", "eval.baselines=false", f"run_dir={path}"]
    train(load_config(None, settings))
    lines = inspect_batch(None, path, tmp_path / "graph.png", SIZE)
    assert (tmp_path / "graph.png").stat().st_size > 10_000
    assert lines[0].endswith(f"gcn, {SIZE} images × 2 views")
    assert any(line.startswith("gate: agreement ") and "λ" in line for line in lines)
    assert not lines[-1].startswith("untrained")


def test_mistakes(tmp_path):
    with pytest.raises(ConfigError, match="no run folder"):
        inspect_batch(None, tmp_path / "none", tmp_path / "graph.png", SIZE)
    with pytest.raises(ConfigError, match=r"name the file graph\.png"):
        inspect_batch(load_config(), None, tmp_path / "graph.jpg", SIZE)


@pytest.mark.parametrize(("data", "kind"), [("karate", "nodes"), ("tu", "graphs")])
def test_graph_data_are_drawn(data, kind, tmp_path, write_tu):
    root = [f"data.root={write_tu(tmp_path)}"] if data == "tu" else []
    config = load_config(None, [f"data.name={data}", *root, "encoder.width=8", "method.name=simclr"])
    task = load_task(config, progress=False)
    torch.manual_seed(0)
    drawn = batch_graph(config, task, load_method(config, task), SIZE)
    assert drawn.images["view"].shape == (2 * SIZE, 96, 96, 3)
    assert len({tile.tobytes() for tile in drawn.images["view"]}) > SIZE, "views differ"
    assert_no_edge_passes_under_another_node(drawn)
    if data == "karate":
        sample = drawn.data["view"].sample[:SIZE]
        among = {(int(a), int(b)) for a, b in sample[drawn.data[LINK].edge_index].t()}
        every = {(int(a), int(b)) for a, b in task.graph.edge_index.t()}
        inside = set(sample.tolist())
        assert among == {(a, b) for a, b in every if a in inside and b in inside}
        assert len(among) >= 2 * (SIZE - 1), "a neighborhood is connected"
        assert drawn.lines()[-1].endswith("not attracted along")
    lines = inspect_batch(config, None, tmp_path / "g.png", SIZE)
    assert lines[0].endswith(f"simclr, {SIZE} {kind} × 2 views")


@pytest.mark.parametrize("name", ["dgi", "cca_ssg"])
def test_methods_of_nodes_without_pairs_of_terms_are_drawn(name):
    config = load_config(None, ["data.name=karate", f"method.name={name}"])
    task = load_task(config, progress=False)
    drawn = batch_graph(config, task, load_method(config, task), SIZE)
    assert LINK in drawn.data.edge_types
    assert draw_graph(drawn).axes
