"""The table of all samplers, and a setting: one of them with its number of steps and its timestep spacing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from diffusion.denoiser import Denoise
from diffusion.samplers import ddim, multistep, ode, sde
from diffusion.samplers.step import Sampler, Step
from diffusion.schedule import NoiseSchedule, times_from

SAMPLERS: dict[str, Sampler] = ddim.SAMPLERS | ode.SAMPLERS | multistep.SAMPLERS | sde.SAMPLERS


SETTING_COLUMNS = ("sampler", "steps", "eta", "times")  # of a setting in tables, where `times` is its spacing


class SamplerSetting(NamedTuple):
    """A row of a comparison: a sampler, its number of steps, its eta if it takes one, its timestep spacing."""

    sampler: str
    steps: int
    eta: float | None = None
    spacing: str = "trailing"

    def start(self, denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor]) -> Iterator[Step]:
        """The steps of the sampler. Raises ValueError for an unknown sampler or timestep spacing, or steps > T."""
        return self.along(self.times(schedule), denoise, schedule, normals)

    def times(self, schedule: NoiseSchedule) -> list[float]:
        """The times that it passes, from T to 0. Raises ValueError for an unknown timestep spacing, or steps > T."""
        return times_from(self.spacing, schedule, self.steps)

    def along(
        self, times: Sequence[float], denoise: Denoise, schedule: NoiseSchedule, normals: Iterator[Tensor]
    ) -> Iterator[Step]:
        """The steps of the sampler along other times. Raises ValueError for an unknown sampler."""
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: {self.sampler!r} is unknown (allowed: {', '.join(SAMPLERS)})")
        options = {} if self.eta is None else {"eta": self.eta}
        return SAMPLERS[self.sampler].walk(denoise, schedule, times, normals, **options)


def comparison(
    timesteps: int,
    ddim_steps: Sequence[int],
    etas: Sequence[float],
    eta_steps: Sequence[int],
    solvers: Sequence[str],
    solver_steps: Sequence[int],
    solver_spacing: str,
) -> list[SamplerSetting]:
    """The settings compared: DDPM, deterministic DDIM, DDIM with every eta above 0, solvers of second order."""
    return [
        SamplerSetting("ddpm", timesteps),
        *(SamplerSetting("ddim", count, 0.0) for count in ddim_steps),
        *(SamplerSetting("ddim", count, eta) for eta in etas if eta > 0 for count in eta_steps),
        *(SamplerSetting(solver, count, spacing=solver_spacing) for solver in solvers for count in solver_steps),
    ]
