"""No text is on both sides."""

import numpy as np
import pytest

from support.outcomes import table_of
from turnout.errors import InvalidRequest
from turnout.learn.splits import by_dataset, folds, labelled, normal_text

QUERIES = [f"question {i // 2}" if i % 2 else f"Question  {i // 2}!" for i in range(80)]
TABLE = table_of(np.zeros((80, 2)), queries=QUERIES, datasets=["a"] * 60 + ["b"] * 20)


def texts(rows):
    return {normal_text(TABLE.queries[i]) for i in rows}


@pytest.mark.parametrize("parts", [folds(TABLE, 5, 0), labelled(TABLE, 11, 3, 0), by_dataset(TABLE)])
def test_the_same_text_in_another_dress_is_on_one_side_only(parts):
    for part in parts:
        assert len(part.train)
        assert len(part.test)
        assert not texts(part.train) & texts(part.test)


def test_folds_test_everything_once_and_alike_each_time():
    parts = folds(TABLE, 5, 0)
    assert sorted(np.concatenate([p.test for p in parts]).tolist()) == list(range(80))
    assert [p.test.tolist() for p in parts] == [p.test.tolist() for p in folds(TABLE, 5, 0)]


def test_each_draw_labels_other_queries():
    one, other = labelled(TABLE, 11, 2, 0)
    assert len(one.train) == len(other.train) == 11
    assert one.train.tolist() != other.train.tolist()


@pytest.mark.parametrize(
    "asked", [lambda: folds(TABLE, 1, 0), lambda: labelled(TABLE, 41, 1, 0), lambda: by_dataset(table_of([[1]]))]
)
def test_what_cannot_be_split_is_said(asked):
    with pytest.raises(InvalidRequest):
        asked()
