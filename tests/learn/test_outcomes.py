"""Files of outcomes as people have them."""

import json

import numpy as np
import pytest

from support.outcomes import ZEROEVAL
from turnout.errors import InvalidRequest
from turnout.learn.outcomes import read_outcomes

HEAD = "dataset,query_id,query,model,score,cost_usd,input_tokens,output_tokens,meta\n"


def csv_file(folder, *lines, head=HEAD):
    file = folder / "mine.csv"
    file.write_text(head + "".join(line + "\n" for line in lines))
    return file


def test_a_parquet_file():
    table = read_outcomes(ZEROEVAL)
    assert len(table) == 120
    assert set(table.datasets) == {"zeroeval_gsm", "zeroeval_math-l5"}
    assert table.scores.shape == table.input_tokens.shape == (120, 3)
    assert not np.isnan(table.scores).any()
    assert np.isnan(table.costs).all()


def test_a_model_that_was_not_asked_has_no_score(tmp_path):
    file = csv_file(
        tmp_path,
        'd,1,"what, why?",a,1,0.5,10,20,contaminated',
        'd,1,"what, why?",b,0,0.25,10,20,contaminated',
        "d,2,how?,a,0.5,,,,",
    )
    table = read_outcomes(file)
    assert table.queries == ("what, why?", "how?")
    assert table.meta == ("contaminated", "")
    assert table.models == ("a", "b")
    assert np.isnan(table.scores[1, 1])
    assert table.costs[0].tolist() == [0.5, 0.25]


def test_jsonl_with_the_short_names_of_tokens(tmp_path):
    file = tmp_path / "mine.jsonl"
    row = {"dataset": "d", "query_id": "1", "query": "q", "model": "a", "score": 1, "in_tok": 5, "out_tok": 6}
    file.write_text(json.dumps(row) + "\n")
    table = read_outcomes(file)
    assert (table.input_tokens[0, 0], table.output_tokens[0, 0]) == (5, 6)


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    file = csv_file(
        tmp_path,
        "d,1,q,a,1,,,,",
        "d,1,q,a,0,,,,",
        "d,1,another,b,0,,,,",
        "d,2,q,a,7,,,,",
        "d,2,q,a,good,,,,",
        'd,3," ",a,1,,,,',
        "d,4,q,,1,,,,",
    )
    assert read_outcomes(file).left_out == {
        "a second answer of the model to the query": 1,
        "the query's id has another text elsewhere": 1,
        "the score is not a number from 0 to 1": 2,
        "no text of the query": 1,
        "no model, query_id or dataset": 1,
    }


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "dataset,query\nd,q\n", "lacks query_id, model, score"),
        ("a.csv", HEAD + "d,1,q,a,9,,,,\n", "no row can be used (1 x the score"),
        ("a.txt", "", "is one of .parquet, .csv"),
        ("a.parquet", "not parquet", "cannot be read as parquet"),
        ("a.jsonl", "{", "cannot be read as jsonl"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(tmp_path, name, text, told):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InvalidRequest) as error:
        read_outcomes(file)
    assert told in error.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequest, match="no such file"):
        read_outcomes(tmp_path / "none.csv")


def test_an_unknown_model_is_told_with_those_there_are():
    with pytest.raises(InvalidRequest, match=r"it has .*gpt-4o-mini"):
        read_outcomes(ZEROEVAL).of_models(["gpt-9"])
