import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import framehook
import framehook_plugins
import framehook_trainers
from framehook import UsageError
from framehook_trainers.distributed import World, join_world

SCRIPT = """
import sys
from pathlib import Path

import torch
from torch import nn

from framehook_trainers.distributed import join_world
from framehook_trainers.schedules import OneCycle
from framehook_trainers.train import Learning, Trainer


class Batches:
    size = 8
    steps_per_epoch = 3

    def __init__(self, world):
        self.world = world

    def __call__(self, step):
        pixels = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        share = 8 // self.world.size
        own = slice(self.world.rank * share, (self.world.rank + 1) * share)
        return pixels[own], pixels.mean(dim=(1, 2, 3))[own]


def losses(network, batch):
    pixels, wanted = batch
    return {"square": ((network(pixels)[:, 0] - wanted) ** 2).mean()}


def validate(network):
    return {"weight": network[0].weight.abs().sum().item()}


def main(folder):
    with join_world(torch.device("cpu")) as world:
        torch.manual_seed(world.rank)  # each process begins with weights of its own; those of the first count
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
        learning = Learning(epochs=2, schedule=OneCycle(peak=0.05, steps=6), bfloat16=False, tensorboard=False)
        trainer = Trainer(network, learning=learning, folder=folder, world=world)
        for epoch in trainer.epochs(Batches(world), losses, validate=validate):
            assert world.gather(epoch.validation) == world.size * [epoch.validation]
        torch.save([trainer.network.state_dict(), trainer.averaged.state_dict()], folder / f"process-{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    left = [name for task in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := task.read_text())]
    assert not left, f"{left} may still free a tensor while the interpreter ends, which aborts the process"
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    return path


def start_two(script, folder):
    roots = [str(Path(package.__file__).parents[1]) for package in (framehook, framehook_plugins, framehook_trainers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


def test_two_processes_learn_what_one_with_the_whole_batch_does(script, tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    start_two(script, tmp_path / "two")
    runpy.run_path(str(script))["main"](tmp_path / "one")

    alone = torch.load(tmp_path / "one" / "process-0.pt", weights_only=True)
    for process in range(2):
        together = torch.load(tmp_path / "two" / f"process-{process}.pt", weights_only=True)
        for one, other in zip(alone, together, strict=True):
            for name, value in one.items():
                torch.testing.assert_close(other[name], value, rtol=0, atol=1e-5, msg=name)
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()] for name in ("one", "two")]
    assert [len(log) for log in logs] == [2, 2]
    for one, other in zip(*logs, strict=True):
        assert other["losses"]["square"] == pytest.approx(one["losses"]["square"], abs=1e-5)
        assert other["validation"]["weight"] == pytest.approx(one["validation"]["weight"], abs=1e-4)


LOST = """
import os
import torch
from torch import distributed
from framehook import RunError
from framehook_trainers.distributed import join_world

try:
    with join_world(torch.device("cpu")) as world:
        world.gather("here")
        if not world.main:
            os._exit(9)  # as one that is killed
        world.mean(torch.ones(3))
except RunError as error:
    print(error)
"""


def test_a_process_that_is_killed_is_told_by_the_others():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    roots = [str(Path(package.__file__).parents[1]) for package in (framehook, framehook_plugins, framehook_trainers)]
    shared = {"PYTHONPATH": os.pathsep.join(roots), "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOST],
            env={**os.environ, **shared, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    (said, errors), _ = [process.communicate(timeout=120) for process in processes]

    assert said == "another process of the run ended, what it said tells why: resume the run\n", errors[-3000:]


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)

    with join_world(torch.device("cpu")) as world:
        assert world == World(device=torch.device("cpu"), rank=0, size=1)
        assert world.main
        values = torch.tensor([1.0, 2.0])
        assert world.mean(values).equal(values)
        assert world.largest(values).equal(values)
        assert (world.gather("a"), world.share("b")) == (["a"], "b")


@pytest.mark.parametrize(
    ("name", "value"), [("WORLD_SIZE", None), ("LOCAL_RANK", "first")], ids=["a variable is missing", "no number"]
)
def test_torchruns_variables_must_be_whole(monkeypatch, name, value):
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(variable, "0")
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)

    with pytest.raises(UsageError, match=f"{name} is '{value or ''}', want a number: start several processes with torchrun"):
        join_world(torch.device("cpu")).__enter__()
