"""The speed benchmark runs, and what it calls exact is exact. Times are not tested."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


def speed(module):
    """A module of the benchmark beside these tests: it is not installed, and its folder need not be on the path."""
    known = sys.modules.get("benchmarks")
    if known is None or list(getattr(known, "__path__", [])) != [str(FOLDER)]:
        spec = importlib.util.spec_from_file_location(
            "benchmarks", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["benchmarks"])
    return importlib.import_module(f"benchmarks.speed.{module}")


@pytest.fixture
def settings():
    return speed("timing").Settings(quick=True, rounds=5, min_seconds=0, gemm=32, copy=64)


def test_contenders_take_turns_after_a_warm_up(settings):
    log = []
    timings = speed("timing").in_turn({name: lambda name=name: log.append(name) for name in "ab"}, settings)
    assert log[-10:] == ["a", "b"] * 5
    assert log.index("b") > speed("timing").WARM_UP
    assert [len(timing.samples) for timing in timings.values()] == [5, 5]
    assert min(timings["a"].samples) <= timings["a"].median <= max(timings["a"].samples)


def test_a_median_wants_five_rounds():
    with pytest.raises(ValueError, match="at least 5 rounds"):
        speed("timing").Settings(rounds=4)


@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_reference_gradient_is_that_of_the_loss(temperature):
    all_pairs = speed("all_pairs")
    x = all_pairs.features(24, 5, torch.device("cpu")).double().requires_grad_()
    expected = all_pairs.gradient(all_pairs.losses()[all_pairs.DENSE], x, temperature, bf16=False)
    torch.testing.assert_close(all_pairs.reference_gradient(x, temperature, strip=7), expected)


def test_row_of_all_pairs(settings):
    [row] = speed("all_pairs").rows(settings, sizes=(64,), dim=16)
    result = json.loads(json.dumps(speed("timing").measure(row, settings)))
    ours, *others = result["contenders"]
    assert (ours["name"], ours["times_ours"]) == ("cl_as_gnn", 1)
    assert "dense torch" in [other["name"] for other in others]
    for entry in (ours, *others):
        assert max(entry["extra"].values()) < 1e-4
        assert entry["times_floor"] == pytest.approx(entry["median_s"] / entry["floor_s"])
        assert entry["rounds"] == 5
    assert ours["floor_s"] == pytest.approx(4 * 64**2 * 16 / result["rates"]["GEMM fp32"])


def test_command_prints_eighty_columns_and_writes_what_was_asked_for(tmp_path, capsys):
    main = speed("__main__").main
    main(["--quick", "--only", "sparse", "--out", str(tmp_path / "speed.json")])
    printed = capsys.readouterr().out
    assert "Adjacency.pull" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    report = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert torch.__version__.startswith(report["versions"]["torch"].partition("+")[0])
    assert [row["group"] for row in report["rows"]] == ["sparse"]
    apart = [entry["extra"]["apart"] for entry in report["rows"][0]["contenders"]]
    assert max(value for value in apart if value is not None) < 1e-5
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "all_pairs" in capsys.readouterr().err
