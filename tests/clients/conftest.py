"""Frameworks leave HTTP clients to the garbage collector: it runs here, so that no other test trips over them."""

import gc

import pytest


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()
