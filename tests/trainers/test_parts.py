import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from framehook import RunError
from framehook_trainers.datasets.parts import Parts, Workers


def test_who_is_interrupted_waits_for_no_worker():
    strangers, mine = set(multiprocessing.active_children()), set()

    def work():
        with Workers(2) as workers:
            next(workers.map(time.sleep, [0, 20, 20]))
            mine.update(set(multiprocessing.active_children()) - strangers)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert {process.exitcode for process in mine} == {-signal.SIGKILL}


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK" + bytes(40)])
def test_a_part_that_is_damaged_is_told_with_what_to_do(tmp_path, content):
    (tmp_path / "cut-000000.npz").write_bytes(content)

    with pytest.raises(RunError, match=r"cut-000000\.npz' is damaged .*: delete it, and go on with --resume"):
        Parts(tmp_path, "cut", dict).read(0, length=1)


@pytest.mark.parametrize("arrays", [{"hashes": np.zeros(3)}, {"other": np.zeros(2)}, {"hashes": np.zeros(())}])
def test_a_part_of_another_size_is_damaged(tmp_path, arrays):
    np.savez(tmp_path / "cut-000000.npz", **arrays)

    with pytest.raises(RunError, match=r"cut-000000\.npz' is damaged .*: delete it, and go on with --resume"):
        Parts(tmp_path, "cut", dict).read(0, "hashes", length=2)


def test_workers_whose_work_is_done_end_by_themselves():
    strangers = set(multiprocessing.active_children())
    with Workers(2) as workers:
        assert list(workers.map(abs, [-1, 2])) == [1, 2]
        mine = set(multiprocessing.active_children()) - strangers
    assert {process.exitcode for process in mine} == {0}


KILLED = """
import multiprocessing, time
from framehook_trainers.datasets.parts import Workers
if __name__ == "__main__":
    with Workers(2) as workers:
        next(workers.map(abs, [-1, 2]))
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


def is_there(process):
    """Whether it runs; one that has ended and that nobody has asked about is a zombie."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(KILLED)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        workers = list(map(int, parent.stdout.readline().split()))
        assert len(workers) == 2
        assert all(map(is_there, workers))
        parent.kill()
    until = time.monotonic() + 20
    while any(map(is_there, workers)):
        assert time.monotonic() < until
        time.sleep(0.1)
