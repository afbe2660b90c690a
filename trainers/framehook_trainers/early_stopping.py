"""The best weights so far, by a value of the validation, and whether it is worth going on."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from framehook import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Which weights to keep, and when to stop."""

    value: str
    """A value of the validation, such as `age.mae`."""
    best: Literal["lowest", "highest"]
    """Which of its values is the best."""
    patience: int | None = None
    """Epochs without a better value after which to stop; None: never."""

    def check(self, measured: Collection[str]) -> None:
        """Make sure that the validation measures the value.

        Raises:
            UsageError: it does not.
        """
        if self.value not in measured:
            have = ", ".join(measured) or "nothing"
            raise UsageError(f"the validation has no '{self.value}' to watch; it has: {have}")


class Best:
    """The best weights so far.

    Args:
        watch: what decides; None: the last weights are kept, and none are called the best.
    """

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self._value: float | None = None
        self._weights: dict[str, Tensor] = {}
        self._since = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self._watch is not None and self._watch.patience is not None and self._since >= self._watch.patience

    def take(self, network: nn.Module, validation: Mapping[str, float]) -> bool:
        """Keep the weights where they are the best so far, and say whether they are.

        Raises:
            UsageError: the validation lacks the watched value.
        """
        if self._watch is None:
            return False
        self._watch.check(validation)
        value = validation[self._watch.value]
        sign = 1 if self._watch.best == "highest" else -1
        better = not math.isnan(value) and (self._value is None or sign * value > sign * self._value)
        self._since = 0 if better else self._since + 1
        if better:
            self._value = value
            self._weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
        return better

    def restore(self, network: nn.Module) -> None:
        """Load the best weights into the network; where none were kept, it stays as it is."""
        if self._weights:
            network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resumption needs."""
        return {"value": self._value, "weights": self._weights, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._value, self._weights, self._since = state["value"], state["weights"], state["since"]
