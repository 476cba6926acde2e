"""A model with two phases: a least-squares GAN (Mao et al., 2017, eq. 2) of vectors."""

from typing import Literal

import torch
from torch import nn

from corekit.interfaces.draws import as_draws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import LossTerms
from corekit.spec import Spec


class GanSpec(Spec):
    """Two small networks, one against the other."""

    type: Literal["toy.gan"] = "toy.gan"


class Gan(GenerativeModel):
    """The critic learns first, then the generator, whose loss is that of `main`."""

    phases = ("critic", "main")
    entry_points = ("sample",)

    def __init__(self, data):
        super().__init__()
        self.data = data
        (features,) = data.event_shape
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, features))
        self.critic = nn.Sequential(
            nn.Linear(features, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)
        )

    def phase_of(self, name):
        return "critic" if name.startswith("critic.") else "main"

    def forward(self, batch, *, phase="main", draws=None):
        z = as_draws(draws).normal("z", (len(batch.x), 2), batch.x)
        fake = self.generator(z)
        if phase == "main":
            total = (self.critic(fake)[:, 0].float() - 1).square()
            return LossTerms(total, {"fooling": total}, units={"fooling": "score^2"})
        terms = {
            "real": (self.critic(batch.x)[:, 0].float() - 1).square(),
            "fake": self.critic(fake)[:, 0].float().square(),
        }
        return LossTerms(sum(terms.values()), terms, units=dict.fromkeys(terms, "score^2"))

    @torch.no_grad()
    def sample(self, n, condition=None, *, shape=None, temperature=1.0, generator=None, **options):
        like = next(self.parameters())
        return self.generator(temperature * as_draws(generator).normal("z", (n, 2), like))
