"""What old model names cost by today's catalogue, and where it does not know them."""

import numpy as np
import pytest
from msgspec.structs import replace

from support.outcomes import table_of
from turnout.catalog.prices import price_from_usd_per_million
from turnout.errors import ConfigError, InvalidRequest
from turnout.learn.pricing import listed_price, priced, read_prices


@pytest.mark.parametrize(
    ("name", "usd_per_million"),
    [
        ("gpt-4o-2024-08-06", 2.5),
        ("claude-3-haiku-20240307", 0.25),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 0.9),
        ("Llama-3.1-405B-Inst@sambanova", 3.5),  # by the name alone, at the first host that sells it
        ("Meta-Llama-3.1-8B-Instruct", 0.18),
    ],
)
def test_names_are_found_in_the_catalogue(name, usd_per_million):
    assert listed_price(name).input == round(usd_per_million * 1_000_000)


def test_what_the_catalogue_does_not_know_stays_unpriced():
    assert listed_price("Athene-70B") is None


def test_tokens_are_priced_and_recorded_costs_stay():
    table = table_of([[1, 1], [0, 1]], [[np.nan, 0.5], [np.nan, np.nan]], models=["gpt-4o-2024-08-06", "Athene-70B"])
    tokens = np.full((2, 2), 1_000_000.0)
    told, without = priced(replace(table, input_tokens=tokens, output_tokens=tokens), {})
    assert told.costs[:, 0].tolist() == [12.5, 12.5]
    assert told.costs[0, 1] == 0.5
    assert told.estimated_costs
    assert without == ["Athene-70B"]


def test_a_model_without_token_counts_has_no_cost():
    told, without = priced(table_of([[1]], models=["gpt-4o-2024-08-06"]), {})
    assert without == ["gpt-4o-2024-08-06"]
    assert np.isnan(told.costs).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.csv", "model,input,output\nAthene-70B,1,2.5\n"), ("p.toml", '"Athene-70B" = {input = 1, output = 2.5}\n')],
)
def test_prices_of_a_file(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert read_prices(file) == {"Athene-70B": price_from_usd_per_million(1, 2.5, source=name)}


def test_wrong_price_files(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("model,input\na,1\n")
    with pytest.raises(InvalidRequest, match="needs input and output"):
        read_prices(file)
    file.write_text("model,input,output\na,1,cheap\n")
    with pytest.raises(ConfigError, match=r"a\.output"):
        read_prices(file)
