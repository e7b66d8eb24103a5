import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLEEP = "import time; time.sleep(600)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
HEARING = "signal.signal(signal.SIGTERM, signal.SIG_DFL)"
GRANDCHILD = f"""
import signal, subprocess, sys
{{before}}
child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])
{{after}}
print(child.pid, flush=True)
{{then}}
"""
HOLDER = f"""
import subprocess, sys
command = [sys.executable, '-m', 'analytics_platform.demo.leash', '1', sys.executable, '-c', {SLEEP!r}]
process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
print(process.pid, flush=True)
process.wait()
"""


def leashed(code: str, grace_s: float = 5.0, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "analytics_platform.demo.leash", str(grace_s), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("before", "after", "then", "least_s"),
    [
        ("", "", "child.wait()", 0),
        (DEAF, HEARING, "child.wait()", 0),
        (DEAF, "", "child.wait()", 0.5),
        ("", "", "sys.exit(3)", 0),
    ],
    ids=["ends when told", "leaves a deaf child", "is deaf", "ends by itself and leaves a child"],
)
def test_nothing_outlives_a_leash_that_was_let_go(before, after, then, least_s):
    process = leashed(GRANDCHILD.format(before=before, after=after, then=then), grace_s=0.5)
    grandchild = int(process.stdout.readline())
    began = time.monotonic()
    process.stdin.close()
    process.wait(10)
    assert time.monotonic() - began >= least_s
    assert gone(grandchild)
    process.stdout.close()


def test_nothing_outlives_a_holder_that_was_killed():
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    leash = int(holder.stdout.readline())
    assert alive(leash)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert gone(leash)


def test_ctrl_c_in_the_terminal_does_not_reach_the_command():
    process = leashed("import sys; print('up', flush=True); " + SLEEP)
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    assert process.poll() is None
    process.stdin.close()
    assert "ended with exit code -15" in process.stdout.read()
    process.wait(10)
    process.stdout.close()
