"""The U-Net of improved diffusion: a training step and a call, beside the reference and peers.

python benchmarks/unet.py [--rounds 5] [--peers FOLDER] [--compile]
python benchmarks/unet.py sampler

CPU time on one thread, in turn: 64 channels, multipliers 1 2 2 2, two blocks, attention at 16 and
8, four heads, 32 x 32 x 3, batches of 8. The reference is its arithmetic written anew
(`unet_reference`); diffusers and denoising-diffusion-pytorch are used where they can be imported.
`sampler` compares the time of a sampler with that of its bare calls of the network.
"""

import argparse
import sys
import time
import types
from collections.abc import Callable

import torch
from corekit_ddpm_improved.unet import UNet
from interleave import interleaved
from torch import Tensor, nn
from unet_reference import ReferenceUNet

from corekit.diffusion.schedules import cosine_betas
from corekit.interfaces.noise_schedule import DiscreteSchedule

SCHEDULE = DiscreteSchedule(cosine_betas(1000))
Call = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    """Time everything, or samplers."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", nargs="?", default="net", choices=("net", "sampler"))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--peers")
    arguments.add_argument("--compile", action="store_true")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.peers:
        sys.path.insert(0, given.peers)
    if given.what == "sampler":
        _samplers(given.rounds)
    else:
        _nets(given.rounds, compiled=given.compile)


def ours(*, last: bool = False, half: bool = False, compiled: bool = False) -> Call:
    """Our U-Net as a function of x and integer steps."""
    net = UNet((3, 32, 32), channels=64, attention=(2, 4), step_scale=1.0)
    run = torch.compile(net) if compiled else net  # the schedule's tables are NumPy's: left outside
    return _call(net, lambda x, t: run(x, SCHEDULE.level(t)), last, half)


def _call(net: nn.Module, call: Call, last: bool = False, half: bool = False) -> Call:
    for parameter in net.parameters():  # layers of zeros would be skipped by nobody, but be fair
        nn.init.normal_(parameter, std=0.02)
    if last:
        net.to(memory_format=torch.channels_last)

    def made(x: Tensor, t: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last) if last else x
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return call(x, t)

    made.net = net
    return made


def _diffusers(last: bool, half: bool) -> Call | None:
    try:
        from diffusers import UNet2DModel
    except ImportError:
        return None
    wide = ("AttnDownBlock2D", "AttnUpBlock2D")
    net = UNet2DModel(
        sample_size=32,
        block_out_channels=(64, 128, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", wide[0], wide[0], "DownBlock2D"),
        up_block_types=("UpBlock2D", wide[1], wide[1], "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=32,
        resnet_time_scale_shift="scale_shift",
    )
    return _call(net, lambda x, t: net(x, t).sample, last, half)


def _lucidrains() -> Call | None:
    fake = types.ModuleType("torchvision")
    fake.transforms = fake.utils = types.ModuleType("transforms")
    sys.modules.setdefault("torchvision", fake)
    try:
        from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Unet
    except Exception:
        return None
    attention = (False, True, True, False)
    net = Unet(64, dim_mults=(1, 2, 2, 2), full_attn=attention)
    return _call(net, net)


def _nets(rounds: int, *, compiled: bool) -> None:
    def reference(**how: bool) -> Call:
        net = ReferenceUNet()
        return _call(net, net, **how)

    calls = {
        "reference": reference(),
        "corekit": ours(),
        "corekit, channels_last": ours(last=True),
        "corekit, bf16": ours(half=True),
        "corekit, channels_last, bf16": ours(last=True, half=True),
        "diffusers": _diffusers(last=False, half=False),
        "diffusers, channels_last, bf16": _diffusers(last=True, half=True),
        "denoising-diffusion-pytorch": _lucidrains(),
    }
    if compiled:
        calls["corekit, channels_last, compiled"] = ours(last=True, compiled=True)
        calls["corekit, channels_last, bf16, compiled"] = ours(last=True, half=True, compiled=True)
    calls = {name: call for name, call in calls.items() if call is not None}
    x, t = torch.randn(8, 3, 32, 32), torch.randint(0, 1000, (8,))

    def step(call: Call) -> Callable[[], object]:
        def run() -> None:
            call.net.zero_grad(set_to_none=True)
            call(x, t).float().square().mean().backward()

        return run

    def forward(call: Call) -> Callable[[], object]:
        def run() -> Tensor:
            with torch.no_grad():
                return call(x, t)

        return run

    for what, make in (("step", step), ("forward", forward)):
        times = interleaved({name: make(call) for name, call in calls.items()}, rounds)
        for name, middle in times.items():
            size = sum(p.numel() for p in calls[name].net.parameters())
            ratio = times["reference"] / middle
            print(f"{what:8} {name:42} {1000 * middle:8.0f} ms  {ratio:5.2f}x  {size:,}")


def _samplers(rounds: int) -> None:
    from corekit.diffusion.predicting import predict_with
    from corekit.diffusion.samplers import Ancestral, Ddim

    net = UNet((3, 32, 32), channels=64, attention=(2, 4), step_scale=1.0)
    x = torch.randn(8, 3, 32, 32)
    for name, sampler in (("ancestral", Ancestral(steps=10)), ("ddim", Ddim(steps=10))):
        levels = [SCHEDULE.level(torch.full((8,), t)) for t in range(0, 1000, 100)]

        def bare(levels: list = levels) -> None:
            with torch.no_grad():
                for level in levels:
                    net(x, level)

        def whole(sampler: object = sampler) -> None:
            sampler(predict_with(net), SCHEDULE, x, times=SCHEDULE.times(10))

        times = interleaved({"bare": bare, "whole": whole}, rounds)
        print(f"{name}: {100 * (times['whole'] / times['bare'] - 1):.1f} % over ten bare calls")


if __name__ == "__main__":
    start = time.process_time()
    main()
    print(f"{time.process_time() - start:.0f} s of CPU time")
