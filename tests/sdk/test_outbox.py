import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from framehook.outbox import Outbox


def test_items_come_out_in_order_and_whoever_puts_them_waits_for_room():
    outbox = Outbox(room=2)
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(lambda: [outbox.put(i) for i in range(100)])
        taken = []
        for _ in range(100):
            assert len(outbox) <= 2
            taken.append(outbox.take())
        putting.result()
    assert taken == list(range(100))


def test_where_nothing_comes_the_wait_has_an_end():
    with pytest.raises(TimeoutError):
        Outbox(room=1).take(wait_seconds=0.01)


def test_a_wide_one_takes_all_that_comes_and_lets_go_of_who_waits():
    outbox, full = Outbox(room=1), threading.Event()

    def put_all():
        outbox.put(0)
        full.set()
        for i in (1, 2, 3):
            outbox.put(i)

    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(put_all)
        assert full.wait(10)
        outbox.widen()
        putting.result(10)
    assert [outbox.take() for _ in range(4)] == [0, 1, 2, 3]
