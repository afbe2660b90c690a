import pytest
import torch
from torch import nn

from framehook_trainers.train import Schedule, Trainer

SCHEDULE = Schedule(steps=12, steps_per_epoch=3, peak_rate=0.05)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 1))


def batch_of(step):
    random = torch.Generator().manual_seed(step)
    pixels = torch.randn(8, 3, 4, 4, generator=random)
    return pixels, pixels.mean(dim=(1, 2, 3))


def losses(network, batch):
    pixels, wanted = batch
    return {"square": ((network(pixels)[:, 0] - wanted) ** 2).mean()}


def trainer(folder, schedule=SCHEDULE):
    return Trainer(network(), schedule=schedule, folder=folder, device=torch.device("cpu"))


class StoppedError(Exception):
    pass


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    def stop(epoch):
        if epoch["step"] == 6:
            raise StoppedError("enough")

    (tmp_path / "a").mkdir()
    whole = trainer(tmp_path / "a")
    whole.run(batch_of, losses, report=lambda epoch: None)
    (tmp_path / "b").mkdir()
    with pytest.raises(StoppedError, match="enough"):
        trainer(tmp_path / "b").run(batch_of, losses, report=stop)

    resumed = trainer(tmp_path / "b")
    assert resumed.resume()
    assert resumed.step == 6
    resumed.run(batch_of, losses, report=lambda epoch: None)

    for one, other in ((whole.network, resumed.network), (whole.averaged, resumed.averaged)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, msg=name)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert not trainer(tmp_path).resume()


def test_training_lowers_the_loss_and_reports_each_epoch(tmp_path):
    epochs = []

    trainer(tmp_path, Schedule(steps=60, steps_per_epoch=20, peak_rate=0.02)).run(batch_of, losses, report=epochs.append)

    assert [epoch["step"] for epoch in epochs] == [20, 40, 60]
    assert epochs[-1]["square"] < epochs[0]["square"] / 2
    assert epochs[-1]["rate"] < 0.02 / 100


def test_the_rate_rises_and_then_falls_to_nothing():
    rates = [Schedule(steps=100, steps_per_epoch=10, peak_rate=1.0, warm_up=0.2).rate(step) for step in range(101)]

    assert rates[20] == max(rates) == 1
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_vectors_are_not_decayed(tmp_path):
    one = trainer(tmp_path, Schedule(steps=2, steps_per_epoch=2, peak_rate=0.1, weight_decay=0.5))
    bias, weight = one.network[4].bias.clone(), one.network[4].weight.clone()

    one.run(batch_of, lambda network, batch: {"nothing": 0 * network(batch[0]).sum()}, report=lambda epoch: None)

    torch.testing.assert_close(one.network[4].bias, bias)
    assert one.network[4].weight.abs().sum() < weight.abs().sum()
