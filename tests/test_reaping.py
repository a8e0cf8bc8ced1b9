"""A run that is killed leaves nothing behind."""

import os
import subprocess

from support import reaping


def test_what_has_the_mark_of_a_run_that_is_gone_is_ended_and_nothing_else() -> None:
    sleeping = ["sleep", "600"]
    ours = subprocess.Popen(sleeping, env={**os.environ, reaping.VARIABLE: "x-1"}, start_new_session=True)
    # As one that takes no notice of being told.
    deaf = ["bash", "-c", "trap '' TERM; echo; while :; do sleep 1; done"]
    stubborn = subprocess.Popen(deaf, env={**os.environ, reaping.VARIABLE: "x-1"}, stdout=subprocess.PIPE)
    other = subprocess.Popen(sleeping, env={**os.environ, reaping.VARIABLE: "x-11"})
    try:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        with reaping.start("x-1", grace=0.5) as reaper:
            assert ours.poll() is None
            assert reaper.stdin is not None
            reaper.stdin.close()
            assert ours.wait(60) == -15
            assert stubborn.wait(60) == -9
        assert other.poll() is None
    finally:
        for each in (ours, stubborn, other):
            each.kill()
            each.communicate()


def test_this_run_has_a_mark() -> None:
    assert os.environ[reaping.VARIABLE]
