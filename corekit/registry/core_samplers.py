"""The samplers of core. Strings only, nothing is imported."""

from __future__ import annotations

from corekit.registry.core_flows import of_core

SAMPLERS = [
    of_core(
        "sampler",
        "ancestral",
        "diffusion:AncestralSpec",
        "diffusion.samplers:Ancestral",
        "one draw from the posterior per step (DDPM)",
        "ANCESTRAL",
    ),
    of_core(
        "sampler",
        "ddim",
        "diffusion:DdimSpec",
        "diffusion.samplers:Ddim",
        "few steps, deterministic at eta = 0 (DDIM)",
        "DDIM",
    ),
    of_core(
        "sampler",
        "dpm_solver",
        "samplers:DpmSolverSpec",
        "diffusion.dpm_solver:DpmSolver",
        "few steps of one call each (DPM-Solver++)",
        "DPM_SOLVER",
    ),
    of_core(
        "sampler",
        "unipc",
        "samplers:UniPcSpec",
        "diffusion.unipc:UniPc",
        "few steps, each corrected at no cost (UniPC-2)",
        "UNIPC",
    ),
    of_core(
        "sampler",
        "heun",
        "samplers:HeunSpec",
        "diffusion.karras:Heun",
        "two calls per step, on a Karras grid",
        "KARRAS",
    ),
    of_core(
        "sampler",
        "euler",
        "samplers:EulerSpec",
        "diffusion.karras:Euler",
        "Euler's method, on a Karras grid",
        "KARRAS",
    ),
]
