import multiprocessing
import signal
import time

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
        Parts(tmp_path, "cut", dict).read(0)


def test_workers_whose_work_is_done_end_by_themselves():
    strangers = set(multiprocessing.active_children())
    with Workers(2) as workers:
        assert list(workers.map(abs, [-1, 2])) == [1, 2]
        mine = set(multiprocessing.active_children()) - strangers
    assert {process.exitcode for process in mine} == {0}
