"""The machine as the doctor sees it."""

import time

import pytest

from turnout.config import parse_config
from turnout.newcomer.doctor.machine import (
    EXTRAS,
    check_clock,
    check_files,
    check_machine,
    check_packages,
    check_python,
    check_surroundings,
    needed_extras,
)


def test_an_old_python_is_told():
    assert check_python((3, 10, 4)).state == "fail"
    assert check_python((3, 11, 0)).state == "ok"


def test_a_clock_before_the_installation_is_told():
    now = time.time()
    assert check_clock(now, now - 1000).state == "ok"
    assert check_clock(now, now + 10 * 86_400).state == "fail"


@pytest.mark.parametrize(("most", "state"), [(None, "ok"), (256, "warn"), (65_536, "ok")])
def test_open_files(most, state):
    assert check_files(most, 2_000).state == state


@pytest.mark.parametrize(
    ("toml", "extras"),
    [
        ("", []),
        ('[store]\nledger = "postgresql://db/x"\nshared = "valkey://v"\n', ["postgres", "valkey"]),
        ("[telemetry]\notel = true\n", ["otel"]),
        ("[providers.bedrock]\n", ["bedrock"]),
        ('[providers.bedrock]\napi_key = "x"\n', []),
        ("[providers.vertex]\n", ["vertex"]),
    ],
)
def test_a_config_needs_what_it_uses(toml, extras):
    assert list(needed_extras(parse_config(toml, {}), {})) == extras


def test_what_is_missing_is_told_with_the_command(monkeypatch):
    monkeypatch.setitem(EXTRAS, "valkey", ("no_such_module.inner",))
    (found,) = check_packages(["valkey"])
    assert (found.state, found.next) == ("fail", "pip install 'turnout[valkey]'")


def test_a_proxy_is_named_and_its_password_is_not():
    (found,) = check_surroundings({"HTTPS_PROXY": "http://me:secret@proxy:3128"})
    assert "HTTPS_PROXY" in found.told
    assert "secret" not in found.told


def test_a_file_of_certificates_that_is_not_there():
    (found,) = check_surroundings({"SSL_CERT_FILE": "/no/such.pem"})
    assert found.state == "fail"


def test_this_machine_is_well_enough_to_run_the_tests():
    assert "fail" not in {one.state for one in check_machine(None, {})}
