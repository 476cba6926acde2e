"""A data set of points in the plane, drawn from a classic density: no file, the truth is known."""

from corekit.data.densities2d import DENSITIES
from corekit.data.procedural import Procedural


class Toy2d(Procedural):
    """Moons, a checkerboard, Gaussians, rings, a smiley, a pinwheel or spirals.

    Args:
        density: Which of `corekit.data.densities2d.DENSITIES`.
        size: Training points. Point i is the same in a set of any size.
        held_out: Points in "val", and in "test".
        noise: Scales the standard deviations of the density; 1 is what papers show.
        seed: Another seed, other points.
        fresh: Draw each training point anew each time it is read.

    Source: Grathwohl et al., FFJORD, ICLR 2019, figure 2, https://arxiv.org/abs/1810.01367.

    Example:
        >>> data = Toy2d("checkerboard", size=100)
        >>> points = data.split("train").points()
        >>> points.shape, data.log_prob(points).value[0]  # uniform on an area of 32
        (torch.Size([100, 2]), tensor(-3.4657, dtype=torch.float64))
    """

    kind, table, features = "toy2d", DENSITIES, 2

    def __init__(
        self,
        density: str = "moons",
        *,
        size: int = 10_000,
        held_out: int = 2_000,
        noise: float = 1.0,
        seed: int = 0,
        fresh: bool = False,
    ) -> None:
        super().__init__(density, size=size, held_out=held_out, noise=noise, seed=seed, fresh=fresh)
