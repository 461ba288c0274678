"""What a pre-trained model has seen of the validation and test set of a training that begins with it."""

from __future__ import annotations

from dataclasses import replace

from model.data.dataset import Dataset
from model.data.provenance import learned_labels, seen_before
from model.data.splits import Split
from model.training.runs import RunSettings, Transfer, run_training
from tests.model.small_dataset import small_dataset

TARGET = "surface_energy"
QUICK = {"training.epochs": 1, "network.embedding": 8, "network.hidden": 8, "network.convolutions": 1}


def data(places, target=TARGET):
    def read(graph_settings, targets):
        whole = small_dataset(graph_settings)
        entries = [replace(whole[i], targets={target: whole[i].targets[TARGET]}) for i in places]
        return Dataset(tuple(entries), (target,))

    return read


def run(folder, places, target=TARGET, **options):
    settings = RunSettings("sem-cgcnn", params=QUICK, targets=(target,), **options)
    return run_training(data(places, target), settings, folder)


def test_test_slabs_that_the_source_was_trained_on_are_reported(tmp_path, caplog):
    source = run(tmp_path / "source", range(60))
    tuned = run(tmp_path / "tuned", range(60), seed=1, transfer=Transfer.of(tmp_path / "source"))
    assert 0 < tuned["seen_before"]["test"] <= tuned["sizes"]["test"]
    assert "seen_before" not in source
    (line,) = [
        one.getMessage() for one in caplog.records if "the pre-trained model has seen" in one.getMessage()
    ]
    assert f"{tuned['seen_before']['test']} of {tuned['sizes']['test']} test" in line


def test_the_same_sets_other_slabs_and_other_quantities_are_no_leak(tmp_path, caplog):
    run(tmp_path / "source", range(60))
    start = Transfer.of(tmp_path / "source")
    whole = small_dataset()
    known = {whole[i].crystal for i in range(60)}
    others = [i for i, e in enumerate(whole) if e.crystal not in known]
    assert run(tmp_path / "same", range(60), transfer=start)["seen_before"] == {"val": 0, "test": 0}
    assert run(tmp_path / "other", others, transfer=start)["seen_before"] == {"val": 0, "test": 0}
    work = run(tmp_path / "work", range(60), "work_function", seed=1, transfer=start)
    assert work["seen_before"] == {"val": 0, "test": 0}
    assert "has seen" not in caplog.text


def test_a_compound_of_the_test_set_counts_unless_the_training_set_has_it_too():
    whole = small_dataset()
    crystal = whole[0].crystal
    same = [
        i for i, e in enumerate(whole) if e.crystal == crystal and e.graph.identity != whole[0].graph.identity
    ]
    rest = [i for i, e in enumerate(whole) if e.crystal != crystal]
    source = [learned_labels(whole, Split("source", 0, tuple(same), (), ()), whole.targets)]
    left_out = Split("compound", 0, tuple(rest[:5]), tuple(rest[5:8]), (0,))
    mixed = replace(left_out, train=(*left_out.train, same[0]))
    assert seen_before(source, whole, left_out) == {"val": 0, "test": 1}
    assert seen_before(source, whole, mixed) == {"val": 0, "test": 0}


def test_what_chose_the_weights_of_the_source_is_seen_in_the_test_set_alone():
    whole = small_dataset()
    a, b, c = list({entry.crystal: i for i, entry in enumerate(whole)}.values())[:3]
    source = learned_labels(whole, Split("source", 0, (a,), (b, c), ()), whole.targets)
    in_test = Split("x", 0, (), (b,), (c,))
    assert seen_before([source], whole, in_test) == {"val": 0, "test": 1}
    older = {name: value for name, value in source.items() if name != "chosen"}
    assert seen_before([older], whole, in_test) == {"val": 0, "test": 0}  # kept no note of it


def test_fine_tuning_remembers_what_its_source_has_seen(tmp_path):
    whole = small_dataset()
    first, second = Split("x", 0, (0, 1, 2), (3, 4), ()), Split("x", 0, (5, 6), (7, 8), ())
    both = Split("x", 0, (0, 1, 2, 5, 6), (3, 4, 7, 8), ())
    earlier = learned_labels(whole, first, whole.targets)
    assert learned_labels(whole, second, whole.targets, [earlier]) == learned_labels(
        whole, both, whole.targets
    )
    assert learned_labels(whole, second, whole.targets, [{}]) == {}  # a source of an older version: not known
    assert seen_before([{}], whole, Split("x", 0, (0,), (1,), (2,))) is None


def test_a_source_by_default_is_not_used_where_it_has_seen_the_test_set(tmp_path, caplog):
    run(tmp_path / "source", range(60))
    offered = replace(Transfer.of(tmp_path / "source"), offered=True)
    scratch = run(tmp_path / "scratch", range(60), seed=1)
    found = run(tmp_path / "tuned", range(60), seed=1, transfer=offered)
    assert found["settings"] == scratch["settings"] and found["metrics"] == scratch["metrics"]
    assert "is not used" in caplog.text
    same = run(tmp_path / "same", range(60), transfer=offered)
    assert same["settings"]["transfer"]["model"] == offered.key
