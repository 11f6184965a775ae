"""A run that is stopped and started again ends as one that never stopped: same weights, same log, bit by bit."""

import json

from safetensors.torch import load_file


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(run_script, tmp_path):
    """24 kills with SIGKILL, 8 of them in each stage of a save: nothing is lost, nothing is there twice."""
    report = json.loads(run_script("killed_training.py", tmp_path, 1, 24, 8))
    assert sum(report["killed"].values()) >= 20
    assert sum(count for stage, count in report["killed"].items() if stage != "at a random time") == 8
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    log = (whole / "log.jsonl").read_text()
    assert (killed / "log.jsonl").read_text() == log
    records = [json.loads(line) for line in log.splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 67))
    assert report["steps"] > 66  # some were lost, and taken once more
    names = sorted(path.name for path in whole.glob("*checkpoint*"))
    assert names == sorted(path.name for path in killed.glob("*checkpoint*"))  # and nothing half written is left
    for name in names:
        assert_same_checkpoint(whole / name, killed / name)


def assert_same_checkpoint(one, other):
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    for path in (one / "training").iterdir():
        if path.suffix == ".safetensors":  # whose header is in no fixed order
            ours, theirs = load_file(path), load_file(other / "training" / path.name)
            assert ours.keys() == theirs.keys()
            assert all(ours[key].equal(theirs[key]) for key in ours)
        elif path.name != "checksums.json":
            ours, theirs = json.loads(path.read_text()), json.loads((other / "training" / path.name).read_text())
            for numbers in (ours, theirs):
                numbers.get("settings", {}).pop("output_dir", None)
            assert ours == theirs
