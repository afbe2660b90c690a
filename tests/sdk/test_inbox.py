from framehook.inbox import Inbox


def test_a_stream_that_ends_twice_does_not_end_another():
    inbox: Inbox[str, int] = Inbox(streams=2)
    inbox.end("left behind")
    inbox.end("left behind")
    inbox.put("slow", 1, live=False, room=2)
    inbox.end("slow")
    taken, ended = [], []
    while (batch := inbox.take(10)) is not None:
        taken += batch[0]
        ended += batch[1]
    assert (taken, ended) == ([("slow", 1)], ["left behind", "slow"])


def test_a_stream_cannot_end_again_after_its_end_was_taken():
    inbox: Inbox[str, int] = Inbox(streams=2)
    inbox.end("left behind")
    assert inbox.take(10) == ([], ["left behind"])
    inbox.end("left behind")
    inbox.end("slow")
    assert inbox.take(10) == ([], ["slow"])
    assert inbox.take(10) is None


def test_what_belongs_together_is_taken_at_once():
    inbox: Inbox[str, int] = Inbox(streams=1, together=lambda _, items: items.index(3) + 1 if 3 in items else 0)
    for item in (1, 2, 3, 4):
        inbox.put("a", item, live=False, room=9)
    assert inbox.take(10) == ([("a", 1), ("a", 2), ("a", 3)], [])
    inbox.end("a")
    assert inbox.take(10) == ([("a", 4)], [])  # the last of it will not come
    assert inbox.take(10) == ([], ["a"])


def test_a_full_queue_waits_for_nothing():
    inbox: Inbox[str, int] = Inbox(streams=1, together=lambda _, _items: 0)
    for item in (1, 2):
        inbox.put("a", item, live=False, room=2)
    assert inbox.take(10) == ([("a", 1), ("a", 2)], [])


def test_while_one_stream_waits_others_are_taken_from():
    inbox: Inbox[str, int] = Inbox(streams=2, together=lambda key, _items: 0 if key == "waits" else 1)
    inbox.put("waits", 1, live=False, room=9)
    inbox.put("other", 2, live=False, room=9)
    assert inbox.take(10) == ([("other", 2)], [])
