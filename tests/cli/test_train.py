"""`turnout train` and `turnout calibrate` on a table in a file, as a user runs them."""

import json

import pytest

from turnout.cli import main
from turnout.predicting import weights_of


@pytest.fixture
def outcomes(tmp_path):
    def write(name, answers):
        file = tmp_path / f"{name}.jsonl"
        rows = [
            {"dataset": "d", "query_id": str(i), "query": query, "model": model, "score": score, "cost_usd": cost}
            for i in range(300)
            for query, scores in [answers(i)]
            for model, score, cost in (("weak", scores[0], 0.001), ("strong", scores[1], 0.01))
        ]
        file.write_text("\n".join(map(json.dumps, rows)))
        return str(file)

    return write


def telling(i):
    return (f"Compose a poem number {i * 7919}", (0, 1)) if i % 2 else (f"What is {i * 7919} plus 3?", (1, 1))


def noise(i):
    return f"Question {i * 104729 % 9973}", (int(i % 3 == 0), int(i % 5 == 0))


def test_a_predictor_is_trained_kept_in_versions_and_taken_back(outcomes, tmp_path, capsys):
    file, folder = outcomes("telling", telling), str(tmp_path / "model")
    assert main(["train", "--outcomes", file, "--out", folder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["outcomes"], told["models"]) == (1, 600, 2)
    assert main(["calibrate", "--outcomes", file, "--router", folder]) == 0
    assert "error_after" in capsys.readouterr().out
    assert weights_of(folder).error is not None
    assert main(["train", "--out", folder, "--use", "1"]) == 0
    assert weights_of(folder).error is None, "the first version is in use again"


def test_what_does_not_beat_the_single_models_is_not_taken(outcomes, tmp_path, capsys):
    file, folder = outcomes("noise", noise), tmp_path / "model"
    assert main(["train", "--outcomes", file, "--out", str(folder)]) == 1
    assert "does not beat the best mix of single models" in capsys.readouterr().err
    assert not folder.exists()


def test_a_folder_without_a_predictor_says_what_to_do(outcomes, tmp_path, capsys):
    file = outcomes("telling", telling)
    assert main(["calibrate", "--outcomes", file, "--router", str(tmp_path / "none")]) == 1
    assert "turnout train --out" in capsys.readouterr().err
    assert main(["train", "--out", str(tmp_path / "none"), "--use", "3"]) == 1
