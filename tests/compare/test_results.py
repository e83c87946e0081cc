import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from cl_as_gnn.compare import compared, interval, markdown, rich_table
from cl_as_gnn.compare.results import curves, picture
from cl_as_gnn.evaluation.scores import find_score


def test_interval_is_students():
    values = [1.0, 2.0, 4.0, 3.5, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, half = interval(values)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))
    assert np.isnan(interval([1.0])[1])


def scores(**means):
    entry = {f"{key}_top1": {"mean": mean, "std": 1.0, "delta": 2.0, "ci95": 1.0} for key, mean in means.items()}
    return {**entry, "seeds": {}, "seconds": 1.0, "epochs": 1, "num_views": 2}


@pytest.mark.parametrize(
    ("known", "first"),
    [({"knn": 1, "linear": 2, "label1": 3, "label10": 4}, "1 label"), ({"knn": 1, "linear": 2, "label1": 3}, "linear")],
)
def test_differences_are_those_of_the_telling_scores(known, first):
    results = {
        "suite": "two",
        "baseline": "a",
        "seeds": [0, 1],
        "budget": None,
        "dataset": "karate",
        "epochs": 1,
        "protocol": "by hand",
        "baselines": {"nothing": {"knn_top1": 1.0}},
        "rows": {"a": scores(**known), "b": scores(**known)},
    }
    table = [line for line in markdown(results).splitlines() if line.startswith("|")]
    assert f"| Δ {first} |" in table[0]
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert table[-1].startswith("| nothing | 1.0 | – | – | – |"), "a file from before a score was known has gaps"
    assert rich_table(results).columns[-1].header == f"Δ {first} to a"
    assert (
        "standard deviation over 2 seeds; Δ: paired difference ± half of its 95 % interval"
        in rich_table(results).caption
    )
    titles = [axes.get_title() for axes in picture(results).axes]
    names = [find_score(key).title for key in compared(results)]
    assert titles == names + [f"{name}: Δ to a" for name in names], "scores, differences below them"


def test_a_name_is_no_markup():
    rows = {"a": scores(knn=1, linear=2)}
    results = {"suite": "<b>*x*|[y](z)", "baseline": "a", "seeds": [0], "budget": None, "dataset": "a`b"}
    results |= {"epochs": 1, "protocol": "by hand", "baselines": {}, "rows": rows}
    assert markdown(results).startswith(r"**\<b\>\*x\*\|\[y\](z)**: a\`b, 1 epochs")
    assert rich_table(results).title.startswith(r"<b>*x*|\[y](z)")


def test_scores_that_the_suite_names_have_differences_too():
    rows = {"a": scores(knn=1, linear=2, shift_linear=3), "b": scores(knn=1, linear=2, shift_linear=3)}
    results = {"baseline": "a", "rows": rows, "scores": ["shift_linear_top1", "knn_top1", "i_nce"]}
    assert compared(results) == ("linear_top1", "knn_top1", "shift_linear_top1")


def test_color_is_for_intervals_clear_of_zero():
    def color(delta, half):
        rows = {"a": scores(knn=1), "b": scores(knn=1)}
        rows["b"]["knn_top1"] |= {"delta": delta, "ci95": half}
        return to_hex(
            picture({"baseline": "a", "rows": rows, "seeds": [0, 1]}).axes[1].containers[-1].lines[0].get_color()
        )

    gray = color(1.0, 2.0)
    assert len({gray, color(3.0, 2.0), color(-3.0, 2.0)}) == 3
    assert color(3.0, float("nan")) == gray, "one seed shows nothing"


def test_curves_are_over_the_purity_or_another_score():
    rows = {name: scores(knn=knn, linear=5, label1=6) for name, knn in (("a", 1), ("b", 2), ("c", 3))}
    for i, row in enumerate(rows.values()):
        row |= {"graph_purity": i / 10, "i_nce": {"mean": float(i)}}
    results = {"baseline": "a", "rows": rows, "curves": {"k": ["b", "c"]}}
    drawn = curves(results).axes[1].containers[0].lines[0]
    assert list(drawn.get_xdata()) == [0.1, 0.2]
    assert list(drawn.get_ydata()) == [2, 3]
    figure = curves(results | {"curves_over": "i_nce"})
    assert list(figure.axes[1].containers[0].lines[0].get_xdata()) == [1, 2]
    assert [axes.get_title() for axes in figure.axes] == ["linear, %", "kNN, %"]
    assert figure.axes[0].get_xlabel() == "I_NCE, nats"
