"""Whether a part that owns networks hands its data on to them."""

from collections.abc import Callable
from typing import Any

from torch import nn

from corekit.interfaces.network import Network
from corekit.testing.check import expect


def expect_networks_to_start(part: nn.Module, initialize: Callable[[], object]) -> str:
    """Each network inside is told to start, by ``initialize`` of the part that owns it."""
    networks = {name: m for name, m in part.named_modules() if isinstance(m, Network)}
    started: set[str] = set()

    def watched(name: str, start: Callable[..., object]) -> Callable[..., object]:
        def initialize(*args: Any, **kwargs: Any) -> object:
            started.add(name)
            return start(*args, **kwargs)

        return initialize

    for name, network in networks.items():
        setattr(network, "initialize", watched(name, network.initialize))  # noqa: B010
    initialize()
    forgotten = sorted(networks.keys() - started)
    expect(
        not forgotten,
        f"the network {', '.join(forgotten)} must start from data (Network.initialize), got no "
        "call. Call it in initialize of what owns it, with what it will see, and then super's.",
    )
    return f"{len(networks)} networks" if networks else "no networks"
