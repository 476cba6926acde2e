"""A plugin for the tests of floors 0 to 2: declarations only, no torch."""

from corekit.registry import Component, hookimpl

API = "1.0"


def _component(kind, name, spec):
    return Component(
        kind, f"toy.{name}", spec=f"toy_specs:{spec}", target=f"toy_parts:{name}", summary="a toy"
    )


@hookimpl
def corekit_components():
    return [
        _component("encoder", "net", "EncoderSpec"),
        _component("encoder", "vague", "VagueSpec"),
        _component("bijector", "squeeze", "SqueezeSpec"),
        _component("bijector", "keep", "KeepSpec"),
        _component("denoiser", "denoiser", "DenoiserSpec"),
        _component("noise_schedule", "linear", "ScheduleSpec"),
        _component("denoising_loss", "mse", "MseSpec"),
        _component("dataset", "file", "FileSpec"),
        _component("metric", "unimportable", "ThereIsNoSuchSpec"),
        _component("metric", "renamed", "MseSpec"),
        _component("metric", "notaspec", "NotASpec"),
    ]
