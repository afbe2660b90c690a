from framehook.inbox import Inbox


def test_a_stream_that_ends_twice_does_not_end_another():
    inbox: Inbox[str, int] = Inbox(streams=2, capacity=2)
    inbox.end("left behind")
    inbox.end("left behind")
    inbox.put("slow", 1, live=False)
    inbox.end("slow")
    taken, ended = [], []
    while (batch := inbox.take(10)) is not None:
        taken += batch[0]
        ended += batch[1]
    assert (taken, ended) == ([("slow", 1)], ["left behind", "slow"])


def test_a_stream_cannot_end_again_after_its_end_was_taken():
    inbox: Inbox[str, int] = Inbox(streams=2, capacity=2)
    inbox.end("left behind")
    assert inbox.take(10) == ([], ["left behind"])
    inbox.end("left behind")
    inbox.end("slow")
    assert inbox.take(10) == ([], ["slow"])
    assert inbox.take(10) is None
