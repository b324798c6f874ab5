"""The demo, as it runs: every step through a real gateway, every answer as recorded, sums that add up."""

import re
import socket
import subprocess
import sys

import pytest


@pytest.mark.real_model
def test_the_demo_runs_and_adds_up():
    done = subprocess.run(
        [sys.executable, "-m", "turnout.cli", "demo", "--exit"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    same, compared = map(int, re.search(r"Answers equal to the recording: (\d+) of (\d+)", text).groups())
    assert same == compared > 50
    assert "recorded/small" in text
    assert "embedded/smollm2-135m-instruct" in text
    costs = [float(c) for c in re.findall(r"^ +\d+  .*\$([\d.]+)$", text, re.MULTILINE)]
    total = float(re.search(r"│ Turnout .*\$([\d.]+)", text).group(1))
    assert abs(sum(costs) - total) < 0.002
    plain, cached = (float(re.search(rf"│ frontier, {k} caching .*?\$([\d.]+)", text).group(1)) for k in ("no", "with"))
    assert total < cached < plain


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            [sys.executable, "-m", "turnout.cli", "demo", "--exit", "--port", str(taken.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "choose another with --port" in done.stderr
