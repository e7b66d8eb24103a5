"""Runs a command for as long as its own stdin is open, then ends everything the command left behind.

    python -m analytics_platform.demo.leash GRACE_SECONDS COMMAND...

Whoever starts it holds the other end of stdin: closing it ends the command, and so does dying, in whatever way, since
the system closes the pipes of the dead. Must be the leader of a process group of its own; processes the command starts,
such as Dagster's runs, are in that group and end with it.
"""

import os
import signal
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code, unless the group had to be ended by force."""
    grace_s, command = float(arguments[0]), arguments[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ignore)  # a handler, unlike SIG_IGN, is not inherited by the command
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_let_go, args=(process, grace_s), daemon=True).start()
    code = process.wait()
    sys.stdout.write(f"{' '.join(command[1:4])} ended with exit code {code}\n")
    sys.stdout.flush()
    _end_the_rest()
    return code


def _let_go(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    sys.stdin.buffer.read()
    # The whole group: a run ends after the micro-batch it is in, and the code server waits for its runs.
    os.killpg(0, signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        _end_the_rest()


def _end_the_rest() -> None:
    """Everything in the group, this process included."""
    os.killpg(0, signal.SIGKILL)


def _ignore(_number: int, _frame: object) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
