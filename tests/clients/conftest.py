"""Frameworks leave HTTP clients to the garbage collector: it runs here, so that no other test trips over them."""

import gc

import pytest


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()
    gc.freeze()  # what is left are modules, which the frameworks load when they are first used
