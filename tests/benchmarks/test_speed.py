"""The speed benchmark runs, and what it calls exact is exact. Times are not tested."""

import importlib
import json
import time

import pytest
import torch


def common(module):
    return importlib.import_module(f"benchmarks.common.{module}")


def speed(module):
    return importlib.import_module(f"benchmarks.speed.{module}")


@pytest.fixture
def settings():
    return common("timing").Settings(quick=True, rounds=5, min_seconds=0, gemm=32, copy=64)


def test_contenders_take_turns_after_a_warm_up(settings):
    log = []
    timings = common("timing").in_turn({name: lambda name=name: log.append(name) for name in "ab"}, settings)
    assert log[-10:] == ["a", "b"] * 5
    assert log.index("b") > common("timing").WARM_UP
    assert [len(timing.samples) for timing in timings.values()] == [5, 5]
    assert min(timings["a"].samples) <= timings["a"].median <= max(timings["a"].samples)


def test_short_calls_get_more_rounds_and_long_ones_do_not():
    timing = common("timing")

    def rounds(pause):
        settings = timing.Settings(rounds=5, min_seconds=0, steady=0.1)
        timings = timing.in_turn({"short": lambda: None, "slowest": lambda: time.sleep(pause)}, settings)
        return [len(of.samples) for of in timings.values()]

    assert 10 <= rounds(0.005)[0] <= 20
    assert rounds(0.005)[0] < rounds(1e-4)[0] == timing.MOST_ROUNDS
    assert rounds(0.05) == [5, 5]


def test_a_note_names_its_case_where_it_is_not_everybodys():
    rows = [{"case": case, "notes": [f"batch of {size}", "the same"]} for case, size in (("small", 8), ("large", 9))]
    assert speed("page").notes(rows) == ["small: batch of 8", "the same", "large: batch of 9"]


def test_a_median_wants_five_rounds():
    with pytest.raises(ValueError, match="at least 5 rounds"):
        common("timing").Settings(rounds=4)


@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_reference_gradient_is_that_of_the_loss(temperature):
    all_pairs = speed("all_pairs")
    x = all_pairs.features(24, 5, torch.device("cpu")).double().requires_grad_()
    expected = all_pairs.gradient(all_pairs.losses()[all_pairs.DENSE], x, temperature, bf16=False)
    torch.testing.assert_close(all_pairs.reference_gradient(x, temperature, strip=7), expected)


def test_row_of_all_pairs(settings):
    [row] = speed("all_pairs").rows(settings, sizes=(64,), dim=16)
    result = json.loads(json.dumps(common("timing").measure(row, settings)))
    ours, *others = result["contenders"]
    assert (ours["name"], ours["times_ours"]) == ("cl_as_gnn", 1)
    assert "dense torch" in [other["name"] for other in others]
    for entry in (ours, *others):
        assert max(entry["extra"].values()) < 1e-4
        assert entry["times_floor"] == pytest.approx(entry["median_s"] / entry["floor_s"])
        assert entry["rounds"] == 5
    assert ours["floor_s"] == pytest.approx(4 * 64**2 * 16 / result["rates"]["GEMM fp32"])


def test_rows_of_very_many_pairs_are_in_both_precisions(settings):
    rows = list(speed("all_pairs").large(settings, sizes=(64,), dim=16))
    assert [row.case for row in rows] == ["64 fp32", "64 bf16"]
    assert [[c.name for c in row.contenders] for row in rows] == [["cl_as_gnn"]] * 2
    assert common("timing").measure(rows[1], settings)["contenders"][0]["floor_s"] > 0


def test_command_prints_eighty_columns_and_writes_what_was_asked_for(tmp_path, capsys):
    main = speed("__main__").main
    main(["--quick", "--only", "sparse", "--out", str(tmp_path / "speed.json")])
    printed = capsys.readouterr().out
    assert "Adjacency.matmul" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    report = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert torch.__version__.startswith(report["versions"]["torch"].partition("+")[0])
    assert [row["group"] for row in report["rows"]] == ["sparse"]
    apart = [entry["extra"]["apart"] for entry in report["rows"][0]["contenders"]]
    assert max(value for value in apart if value is not None) < 1e-5
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "all_pairs" in capsys.readouterr().err


def test_parts_of_a_run_add_up_and_other_machines_do_not(tmp_path, monkeypatch):
    command, out = speed("__main__"), tmp_path / "speed.json"
    row = {"group": "sparse", "case": "", "sizes": {}, "contenders": [], "rates": {}, "notes": []}
    groups = {name: lambda settings: iter([None]) for name in ("sparse", "knn")}
    monkeypatch.setattr(command, "GROUPS", groups)
    monkeypatch.setattr(command, "measure", lambda made, settings: row)
    for name in ("knn", "sparse", "knn"):
        command.main(["--quick", "--only", name, "--out", str(out)])
    assert [row["part"] for row in json.loads(out.read_text(encoding="utf-8"))["rows"]] == ["sparse", "knn"]
    monkeypatch.setattr(common("machine"), "processor", lambda: "another")
    command.main(["--quick", "--only", "knn", "--out", str(out)])
    assert [row["part"] for row in json.loads(out.read_text(encoding="utf-8"))["rows"]] == ["knn"]


def report(**times):
    contenders = [
        {"name": name, "median_s": seconds, "times_ours": seconds / times["cl_as_gnn"], "extra": {}}
        for name, seconds in times.items()
    ]
    row = {"group": "training", "case": "small", "contenders": contenders, "notes": ["a note"]}
    its = {"processor": "a chip", "cores": 2, "threads": 2, "device": "cpu"}
    return {"date": "2026-01-01T00:00", "machine": its, "versions": {"torch": "2", "lightly": None}, "rows": [row]}


def test_page_says_what_held_what_was_missed_and_what_is_not_there():
    page = speed("page").page
    fast = page(report(**{"cl_as_gnn": 0.1, "lightly + Lightning": 0.5}))
    goal = "| training, small encoder: times lightly + Lightning | ≥ 4 | "
    assert goal + "5 | held |" in fast
    assert goal + "2 | **missed** |" in page(report(**{"cl_as_gnn": 0.1, "lightly + Lightning": 0.2}))
    assert goal + "– |  |" in page(report(cl_as_gnn=0.1))
    assert "| memory at n = 65,536 in MB | ≤ 400 | – |  |" in fast
    assert "|  | lightly + Lightning | 500 | 5 |" in fast
    memory = "| memory of training, small encoder: times less than lightly | ≥ 1 | "
    assert memory + "– |  |" in fast
    both = report(**{"cl_as_gnn": 0.1, "lightly + Lightning": 0.5})
    for entry, peak in zip(both["rows"][0]["contenders"], (90.0, 60.0), strict=True):
        entry["extra"] = {"peak MB": peak}
    assert memory + "0.667 | **missed** |" in page(both)
    assert "- a note" in fast
    assert "not been run on one" in fast
    assert "1,048,576" not in fast
    both["machine"]["device"] = "cuda"
    contenders = [{"name": "cl_as_gnn", "median_s": 4.0, "extra": {}}]
    row = {"group": "all_pairs_large", "case": "1048576 bf16", "contenders": contenders, "notes": [], "sizes": {}}
    both["rows"].append(row)
    gpu = page(both)
    assert "| NT-Xent, n = 1,048,576, bf16: seconds | ≤ 5 | 4 | held |" in gpu
    assert "| memory at n = 1,048,576 in MB | ≤ 4000 | – |  |" in gpu


def test_a_row_that_times_itself_has_its_floor_in_the_page(settings):
    timing = common("timing")
    work = timing.Work(flops=1e9)
    contenders = [
        timing.Contender(name, lambda took=took: took, work, items=8)
        for name, took in (("cl_as_gnn", 0.5), ("lightly + Lightning", 2.0))
    ]
    result = timing.measure(timing.Row("training", "small", contenders, self_timed=True), settings)
    floor = 1e9 / result["rates"]["GEMM fp32"]
    assert [entry["times_floor"] for entry in result["contenders"]] == pytest.approx([0.5 / floor, 2 / floor])
    [line] = speed("page").limits({"rows": [result]})
    number = common("table").significant
    assert line.startswith("small: a step of the encoder alone")
    assert f"be {number(2 / floor)} times faster than lightly; with all else it is 4." in line


def test_work_of_training_grows_with_the_batch(settings):
    training = speed("training")
    config, batch, _ = training._plan(settings, "small")
    work = training._encoder_work(config, batch)
    assert work.flops == batch * training._encoder_work(config, 1).flops > 0


def test_results_are_of_a_full_run():
    results = common("store").read(speed("page").OUT)
    assert not results["quick"]
    assert {row["part"] for row in results["rows"]} == set(speed("__main__").GROUPS)


def test_cost_is_per_step_and_per_view(settings, monkeypatch):
    cost = importlib.import_module("benchmarks.cost")
    monkeypatch.setattr(cost, "FILL", 1)
    rows = cost.measure(["gat", "simclr"], settings)["methods"]
    assert (rows["gat"]["views"], rows["simclr"]["views"]) == (1024, 512)
    assert rows["simclr"]["step_ratio"] == rows["simclr"]["view_ratio"] == 1
    assert rows["gat"]["step_ratio"] == pytest.approx(2 * rows["gat"]["view_ratio"])
    assert rows["gat"]["step_ratio"] == pytest.approx(rows["gat"]["median_s"] / rows["simclr"]["median_s"])
