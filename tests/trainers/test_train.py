import errno
import json
import math
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from framehook import ModelError, OutputError, RunError, UsageError
from framehook_plugins.agegender.pixels import Normalisation
from framehook_trainers.augment import Augmentation, augment, mixup
from framehook_trainers.batches import Batches
from framehook_trainers.datasets.faces import CropGeometry, Faces
from framehook_trainers.distributed import World
from framehook_trainers.draws import seeded
from framehook_trainers.early_stopping import Watch
from framehook_trainers.losses import age_loss, masked_mean
from framehook_trainers.schedules import OneCycle, StepDecay
from framehook_trainers.train import Learning, Trainer

ALONE = World(device=torch.device("cpu"))
CONSTANT = StepDecay(start=0.1, steps_per_epoch=1)
LEARNING = Learning(epochs=4, schedule=OneCycle(peak=0.05, steps=12), tensorboard=False)


class Noise:
    """Random pixels, and their mean to be learnt."""

    size = 8

    def __init__(self, steps_per_epoch=3, device="cpu"):
        self.steps_per_epoch = steps_per_epoch
        self.device = device

    def __call__(self, step):
        pixels = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        return pixels.to(self.device), pixels.mean(dim=(1, 2, 3)).to(self.device)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 1))


def losses(network, batch):
    pixels, wanted = batch
    return {"square": ((network(pixels)[:, 0] - wanted) ** 2).mean()}


def trainer(folder, own=None, world=ALONE, **changed):
    settings = {name: getattr(LEARNING, name) for name in LEARNING.__slots__}
    folder.mkdir(exist_ok=True)
    return Trainer(own or network(), learning=Learning(**settings | changed), folder=folder, world=world)


def run(trained, losses_of=losses, **options):
    return list(trained.epochs(Noise(), losses_of, **options))


def validated(network):
    return {"weight": network[4].weight.abs().sum().item()}


def same_weights(one, other):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, msg=name)


def log_of(folder):
    timed = {"seconds", "images_per_second"}
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in timed} for line in lines]


WATCHED = {"watch": Watch(value="weight", best="lowest")}


def test_a_run_that_was_killed_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = trainer(tmp_path / "whole", **WATCHED)
    run(whole, validate=validated)
    killed = trainer(tmp_path / "killed", **WATCHED).epochs(Noise(), losses, validate=validated)
    next(killed), next(killed)

    resumed = trainer(tmp_path / "killed", **WATCHED)
    assert resumed.resume()
    assert resumed.step == 6
    run(resumed, validate=validated)

    same_weights(whole.network, resumed.network)
    same_weights(whole.averaged, resumed.averaged)
    same_weights(whole.finish(), resumed.finish())
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "killed")


@pytest.fixture
def others_are_ctrl_c():
    """As the command line has it."""
    before = {kind: signal.signal(kind, signal.default_int_handler) for kind in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.usefixtures("others_are_ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGHUP")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_a_checkpoint_at_its_step(tmp_path, kind):
    whole = trainer(tmp_path / "whole")
    run(whole)
    steps = iter(range(12))

    def interrupting(network, batch):
        if next(steps) == 4:
            signal.raise_signal(kind)
        return losses(network, batch)

    with pytest.raises(KeyboardInterrupt):
        run(trainer(tmp_path / "stopped"), interrupting)

    resumed = trainer(tmp_path / "stopped")
    assert resumed.resume()
    assert resumed.step == 5
    run(resumed)
    same_weights(whole.network, resumed.network)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "stopped")


def test_ctrl_c_while_validating_ends_after_that_epoch(tmp_path):
    def interrupting(network):
        signal.raise_signal(signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(trainer(tmp_path), validate=interrupting)

    assert [line["step"] for line in log_of(tmp_path)] == [3]
    resumed = trainer(tmp_path)
    assert resumed.resume()
    assert resumed.step == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_line_whose_epoch_was_not_saved_is_written_once(tmp_path):
    killed = trainer(tmp_path).epochs(Noise(), losses)
    next(killed)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "step": 6}\n{"epoch": 3, "st')

    resumed = trainer(tmp_path)
    resumed.resume()
    run(resumed)

    assert [line["step"] for line in log_of(tmp_path)] == [3, 6, 9, 12]


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert not trainer(tmp_path).resume()


def test_training_lowers_the_loss_and_reports_each_epoch(tmp_path):
    learning = {"epochs": 3, "schedule": OneCycle(peak=0.02, steps=60)}

    epochs = list(trainer(tmp_path, **learning).epochs(Noise(20), losses))

    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(1, 20), (2, 40), (3, 60)]
    assert epochs[-1].losses["square"] < epochs[0].losses["square"] / 2
    assert epochs[-1].rate < 0.02 / 100
    assert "epoch 3, step 60, " in str(epochs[-1])


def test_progress_goes_on_where_a_run_is_resumed(tmp_path):
    told = []
    learning = {"epochs": 2, "schedule": CONSTANT}
    first = trainer(tmp_path, **learning)
    next(first.epochs(Noise(3), losses))
    again = trainer(tmp_path, **learning)
    assert again.resume()

    list(again.epochs(Noise(3), losses, progress=lambda done, total: told.append((done, total))))

    assert told == [(Noise.size * step, Noise.size * 6) for step in (4, 5, 6)]


def weight_after(folder, *, steps, loss_of, **changed):
    own = nn.Linear(2, 1, bias=False)
    nn.init.constant_(own.weight, 1.0)
    trained = trainer(folder, own, epochs=1, schedule=CONSTANT, **changed)
    list(trained.epochs(Noise(steps), lambda network, batch: {"loss": loss_of(own.weight)}))
    return own.weight.detach().flatten()


def test_sgd_is_with_nesterovs_momentum(tmp_path):
    weight = weight_after(tmp_path, steps=2, loss_of=lambda weight: weight.sum(), optimizer="sgd", momentum=0.9, weight_decay=0.0)

    # Velocity 1, then 1.9; each step goes along gradient + 0.9 · velocity.
    torch.testing.assert_close(weight, torch.full((2,), 1 - 0.1 * ((1 + 0.9 * 1) + (1 + 0.9 * 1.9))))


@pytest.mark.parametrize(
    ("optimizer", "wanted"), [("adam", 1 - 0.1), ("adamw", 1 * (1 - 0.1 * 0.5) - 0.1)], ids=["adam", "adamw"]
)
def test_adam_and_adamw_differ_in_their_decay(tmp_path, optimizer, wanted):
    # A first step of Adam is the rate, whatever the gradient; Adam's decay joins the gradient, AdamW's the weight.
    weight = weight_after(tmp_path, steps=1, loss_of=lambda weight: weight.sum(), optimizer=optimizer, weight_decay=0.5)

    torch.testing.assert_close(weight, torch.full((2,), wanted))


def test_long_gradients_are_clipped(tmp_path):
    weight = weight_after(
        tmp_path,
        steps=1,
        loss_of=lambda weight: (weight * torch.tensor([300.0, 400.0])).sum(),
        optimizer="sgd",
        momentum=0.5,
        weight_decay=0.0,
        clip_norm=1.0,
    )

    torch.testing.assert_close(weight, 1 - 0.1 * 1.5 * torch.tensor([0.6, 0.8]))


def test_vectors_are_not_decayed(tmp_path):
    own = network()
    bias, weight = own[4].bias.clone(), own[4].weight.clone()

    run(
        trainer(tmp_path, own, weight_decay=0.5, schedule=CONSTANT),
        lambda network, batch: {"nothing": 0 * network(batch[0]).sum()},
    )

    torch.testing.assert_close(own[4].bias, bias)
    assert own[4].weight.abs().sum() < weight.abs().sum()


def test_the_averaged_weights_forget_as_told(tmp_path):
    trained = trainer(tmp_path, average=0.3, schedule=CONSTANT)
    wanted = {name: value.clone() for name, value in trained.network.state_dict().items()}
    seen = []

    def noting(network, batch):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return losses(network, batch)

    run(trained, noting)

    for step, weights in enumerate([*seen[1:], trained.network.state_dict()], start=1):
        keep = min(0.3, (1 + step) / (10 + step))
        for name, value in weights.items():
            wanted[name] = wanted[name] * keep + value * (1 - keep)
    for name in ("0.weight", "1.running_var", "4.bias"):
        torch.testing.assert_close(
            trained.averaged.state_dict()[name].contiguous(), wanted[name].contiguous(), rtol=1e-3, atol=1e-4
        )


def test_without_averaging_the_networks_own_weights_are_measured(tmp_path):
    trained = trainer(tmp_path, average=0)
    run(trained)

    for own, averaged in zip(trained.network.parameters(), trained.averaged.parameters(), strict=True):
        assert own.equal(averaged)


def test_training_stops_when_patience_is_at_its_end_and_keeps_the_best(tmp_path):
    values, seen = iter([5.0, 3.0, math.nan, 4.0, 1.0]), []

    def validate(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"age.mae": next(values)}

    trained = trainer(tmp_path, epochs=9, watch=Watch(value="age.mae", best="lowest", patience=2))
    epochs = run(trained, validate=validate)

    assert [epoch.best for epoch in epochs] == [True, True, False, False]
    for name, value in trained.finish().state_dict().items():
        assert value.equal(seen[1][name]), name


def test_patience_is_remembered_by_the_checkpoint(tmp_path):
    watch = {"epochs": 9, "watch": Watch(value="v", best="highest", patience=2)}
    values = iter([3.0, 2.0, 1.0, 9.0])

    killed = trainer(tmp_path, **watch).epochs(Noise(), losses, validate=lambda network: {"v": next(values)})
    next(killed), next(killed)
    resumed = trainer(tmp_path, **watch)
    resumed.resume()

    assert len(run(resumed, validate=lambda network: {"v": next(values)})) == 1


def test_where_nothing_is_watched_no_epoch_is_called_the_best(tmp_path):
    epochs = run(trainer(tmp_path), validate=validated)

    assert not any(epoch.best for epoch in epochs)
    assert "(best)" not in str(epochs[0])


def test_a_watched_value_must_be_measured(tmp_path):
    with pytest.raises(UsageError, match=r"the validation has no 'age\.mae' to watch; it has: weight"):
        run(trainer(tmp_path, watch=Watch(value="age.mae", best="lowest")), validate=validated)


@pytest.mark.parametrize(("bfloat16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)], ids=["bfloat16", "float32"])
def test_the_network_multiplies_in_the_precision_that_was_asked_for(tmp_path, bfloat16, dtype):
    seen = set()

    def noting(network, batch):
        seen.add(network(batch[0]).dtype)
        return losses(network, batch)

    trained = trainer(tmp_path, bfloat16=bfloat16)
    run(trained, noting)

    assert seen == {dtype}
    assert {value.dtype for value in trained.averaged.parameters()} == {torch.float32}


def test_filters_lie_channels_last(tmp_path):
    trained = trainer(tmp_path)

    assert trained.network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert trained.averaged[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_compiled_network_leaves_weights_of_the_same_names(tmp_path):
    own = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    names = list(own.state_dict())
    called = []

    def noting(network, batch):
        called.append(type(network).__name__)
        return losses(network, batch)

    trained = trainer(tmp_path, own, epochs=1, compile="eager")
    run(trained, noting)

    assert set(called) == {"OptimizedModule"}
    assert list(trained.finish().state_dict()) == names
    assert list(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]) == names


def test_a_compiler_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(UsageError, match=r"torch cannot compile with 'nosuch' \(there are: .*inductor"):
        trainer(tmp_path, compile="nosuch")


@pytest.mark.parametrize("lost", [math.nan, math.inf], ids=["nan", "infinite"])
def test_a_lost_loss_stops_with_its_step_and_leaves_the_last_good_checkpoint(tmp_path, lost):
    steps = iter(range(12))

    def losing(network, batch):
        return losses(network, batch) | {"other": torch.tensor(lost if next(steps) == 4 else 1.0)}

    with pytest.raises(RunError, match=r"NaN or infinite at step 4 \(other\): '.*checkpoint.pt' is kept as it was before; lower"):
        run(trainer(tmp_path), losing)

    resumed = trainer(tmp_path)
    assert resumed.resume()
    assert resumed.step == 3
    assert all(value.isfinite().all() for value in resumed.network.state_dict().values())


def test_too_little_memory_is_told_with_the_batch_that_did_not_fit(tmp_path):
    steps = iter(range(12))

    def losing(network, batch):
        if next(steps) == 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return losses(network, batch)

    with pytest.raises(
        RunError, match=r"memory of cpu is too small at step 4, for batches of \d+ images: free some and resume, or begin anew"
    ):
        run(trainer(tmp_path), losing)


def test_a_compiler_that_fails_at_its_first_step_is_told(tmp_path):
    def failing(network, example):
        raise NotImplementedError("no compiler here")

    with pytest.raises(RunError, match=r"torch could not compile with .*no compiler here.*; do without --compile"):
        run(trainer(tmp_path, compile=failing))


def test_a_lost_weight_is_not_saved(tmp_path):
    steps = iter(range(12))

    def losing(network, batch):
        far = 0 * network(batch[0]).sum()
        return {"root": (far.sqrt() if next(steps) == 5 else far)}  # a root's slope at 0 is infinite

    with pytest.raises(RunError, match=r"a weight became NaN or infinite before step 6: '.*checkpoint.pt' is kept"):
        run(trainer(tmp_path), losing)

    resumed = trainer(tmp_path)
    assert resumed.resume()
    assert resumed.step == 3


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")


@needs_dev_full
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint(tmp_path):
    epochs = trainer(tmp_path).epochs(Noise(), losses)
    next(epochs)
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")

    with pytest.raises(
        OutputError, match=r"checkpoint\.pt' cannot be written, the one before is kept \(.+\); make room"
    ) as caught:
        next(epochs)

    assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    resumed = trainer(tmp_path)
    assert resumed.resume()
    assert resumed.step == 3


@needs_dev_full
def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")

    with pytest.raises(OutputError, match=r"log\.jsonl' cannot be written: No space left on device; make room"):
        run(trainer(tmp_path))


@needs_dev_full
def test_a_log_that_cannot_be_shortened_stays_as_it_was(tmp_path):
    run(trainer(tmp_path, epochs=2))
    before = (tmp_path / "log.jsonl").read_bytes()
    (tmp_path / "log.jsonl.part").symlink_to("/dev/full")
    earlier = trainer(tmp_path)
    earlier.step = 3

    with pytest.raises(OutputError, match=r"log\.jsonl' cannot be written: No space left on device; make room"):
        run(earlier)

    assert (tmp_path / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("content", [b"\xff\n", None], ids=["no text", "a folder"])
def test_a_log_that_is_none_is_told(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.mkdir() if content is None else path.write_bytes(content)

    with pytest.raises(RunError, match=r"log\.jsonl' cannot be read as a log \(.+\): remove it, and go on with --resume"):
        run(trainer(tmp_path))


def test_a_damaged_checkpoint_is_refused(tmp_path):
    run(trainer(tmp_path, epochs=1))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ModelError, match=r"checkpoint\.pt' cannot be read as a checkpoint \(\w+\); begin the run anew"):
        trainer(tmp_path).resume()


def test_a_bit_that_flipped_in_a_checkpoint_is_told(tmp_path):
    run(trainer(tmp_path, epochs=1))
    path = tmp_path / "checkpoint.pt"
    data = bytearray(path.read_bytes())
    state = torch.load(path, weights_only=True)
    place = bytes(data).index(state["network"]["4.weight"].numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)

    with pytest.raises(ModelError, match=r"checkpoint\.pt' cannot be read as a checkpoint \(BadZipFile\); begin the run anew"):
        trainer(tmp_path).resume()


@pytest.mark.parametrize(
    "change",
    [None, {"step": None}, {"network": None}, {"totals": []}, {"random": None}, {"random": [None]}],
    ids=["a list", "no step", "no network", "no totals", "no random numbers", "others for random numbers"],
)
def test_a_checkpoint_of_other_things_is_refused(tmp_path, change):
    run(trainer(tmp_path, epochs=1))
    path = tmp_path / "checkpoint.pt"
    torch.save([] if change is None else torch.load(path, weights_only=True) | change, path)

    with pytest.raises(ModelError, match=r"checkpoint\.pt' cannot be read as a checkpoint \(\w+\); begin the run anew"):
        trainer(tmp_path).resume()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run(trainer(tmp_path, epochs=1))

    with pytest.raises(ModelError, match=r"does not fit: .*4\.weight.*; resume with the network and settings"):
        trainer(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(48, 1))).resume()


def test_a_checkpoint_of_several_processes_is_refused_by_one(tmp_path):
    run(trainer(tmp_path, epochs=1))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | {"random": 2 * state["random"]}, tmp_path / "checkpoint.pt")

    with pytest.raises(UsageError, match="has 2 processes, got 1: resume it with as many"):
        trainer(tmp_path).resume()


def test_scalars_are_written_for_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    run(trainer(tmp_path, tensorboard=True), validate=validated)

    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["images_per_second", "losses/square", "rate", "validation/weight"]
    assert [event.step for event in events.Scalars("losses/square")] == [3, 6, 9, 12]
    wanted = [line["losses"]["square"] for line in log_of(tmp_path)]
    assert [event.value for event in events.Scalars("losses/square")] == pytest.approx(wanted, rel=1e-5)


class Full:
    """TensorBoard's writer, on a disk that is full."""

    def __init__(self, folder, purge_step):
        pass

    def add_scalar(self, name, value, step):
        pass

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_scalars_that_cannot_be_written_cost_no_epoch_and_are_told_once(tmp_path, monkeypatch, capsys):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    monkeypatch.setattr(tensorboard, "SummaryWriter", Full)

    run(trainer(tmp_path, tensorboard=True))

    assert trainer(tmp_path).resume()
    assert len(log_of(tmp_path)) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no more scalars for TensorBoard: they cannot be written ([Errno 28] No space left on device)")


def test_scalars_that_have_no_place_are_told_and_the_run_goes_on(tmp_path, capsys):
    pytest.importorskip("torch.utils.tensorboard")
    (tmp_path / "tensorboard").touch()

    run(trainer(tmp_path, tensorboard=True, epochs=1))

    assert capsys.readouterr().err.startswith("no more scalars for TensorBoard: they cannot be written")
    assert len(log_of(tmp_path)) == 1


def test_without_tensorboard_a_line_says_what_brings_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    run(trainer(tmp_path, tensorboard=True, epochs=1))

    assert capsys.readouterr().err == (
        "no scalars for TensorBoard: it is not installed; get it with pip install 'framehook[train]'\n"
    )
    assert len(log_of(tmp_path)) == 1


def recipe(folder, faces, world=ALONE, **changed):
    """What a recipe does: data, model, loop."""
    normalised = Normalisation(colour="RGB", mean=(0.5,) * 3, std=(0.25,) * 3).to(world.device)

    def views(pixels, epoch, generator):
        return augment(pixels, Augmentation(), covers=14, size=14 if epoch else 8, generator=generator)

    def losses(network, batch):
        mixed = mixup(batch.pixels, alpha=0.4, generator=seeded(0, 1, batch.step))
        logits = network(normalised(mixed.pixels).mean(dim=(2, 3)))
        ages = batch.ages
        loss = mixed.blend(age_loss(logits, ages), age_loss(logits, ages[mixed.partners]))
        return {"age": masked_mean(loss, mixed.known(ages[:, 0] >= 0))}

    batches = Batches(faces, size=8, seed=0, world=world, balance=0.5, views=views)
    torch.manual_seed(0)
    return trainer(folder, nn.Linear(3, 101), world, **changed), batches, losses


def faces(n=24):
    random = np.random.default_rng(0)
    low = random.integers(-1, 90, n)
    return Faces(
        shards=(random.integers(0, 256, (n, 16, 16, 3), np.uint8),),
        geometry=CropGeometry(size=14, stored_size=16),
        datasets=np.array(["set"] * n),
        names=np.array([f"{i}.jpg" for i in range(n)]),
        races=np.array([""] * n),
        ages=np.stack([low, np.where(low < 0, -1, low + 9 * random.integers(0, 2, n))], axis=1),
        female=random.integers(-1, 2, n).astype(np.int8),
    )


def test_a_recipe_resumes_with_the_same_views(tmp_path):
    whole, *data = recipe(tmp_path / "whole", faces())
    list(whole.epochs(*data))
    killed, *data = recipe(tmp_path / "killed", faces())
    next(killed.epochs(*data))

    resumed, *data = recipe(tmp_path / "killed", faces())
    assert resumed.resume()
    list(resumed.epochs(*data))

    same_weights(whole.network, resumed.network)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "killed")


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [None, "inductor"], ids=["eager", "compiled"])
def test_training_on_cuda_resumes_where_it_was(cuda, tmp_path, compiled):
    world, batches = World(device=cuda), Noise(device=cuda)
    whole = trainer(tmp_path / "whole", world=world, compile=compiled)
    list(whole.epochs(batches, losses))
    killed = trainer(tmp_path / "killed", world=world, compile=compiled).epochs(batches, losses)
    next(killed), next(killed)

    resumed = trainer(tmp_path / "killed", world=world, compile=compiled)
    assert resumed.resume()
    list(resumed.epochs(batches, losses))

    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)  # cuDNN's sums have no fixed order


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_step_waits_for_the_device(cuda, tmp_path):
    trained, batches, losses = recipe(tmp_path, faces(160), World(device=cuda), epochs=1, clip_norm=1.0)
    assert batches.steps_per_epoch == 20
    steps = iter(range(20))

    def watched(network, batch):
        step = next(steps)
        torch.cuda.set_sync_debug_mode("error" if 2 <= step < 19 else "default")
        return losses(network, batch)

    try:
        epochs = list(trained.epochs(batches, watched))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert epochs[0].step == 20
