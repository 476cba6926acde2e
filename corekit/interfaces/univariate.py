"""The Univariate interface: an invertible map of one number, its parameters given per element."""

from abc import ABC, abstractmethod

from torch import Tensor

from corekit.data_spec import Support
from corekit.errors import ShapeError
from corekit.interfaces.inversion import invert


class Univariate(ABC):
    r"""An increasing map :math:`z_i = \tau(x_i; \theta_i)` of every element by its own parameters.

    It holds options and no weights: an elementwise layer learns the parameters, a coupling or an
    autoregressive layer has a network compute them. So one map serves all of these.

    **Implement one.** Set ``parameters``, how many numbers an element needs, and write
    ``_forward``; write ``_inverse`` where it has a closed form, otherwise it is found numerically,
    with implicit gradients. Parameters of zero should make a good start: the identity, where there
    is one.

    Attributes:
        parameters: P, the numbers that one element needs.
        domain: Support of x.
        codomain: Support of z.
        iterative: Directions, of "forward" and "inverse", that run until they converge;
            torch.compile takes them piecewise.

    Shape:
        - x, z: ``(B, *event)`` · params: ``(B, P, *event)`` · log-slope: ``(B, *event)``, the
          logarithm of ``|dz/dx|`` of each element, nats; float64 if x is, else float32

    The parameters of one kind lie side by side (``params[:, 0]`` is a whole event), so that
    arithmetic over them is arithmetic on contiguous memory.

    Raises:
        ShapeError: If the parameters do not fit x.
    """

    parameters: int
    domain: Support = Support.REAL
    codomain: Support = Support.REAL
    iterative: frozenset[str] = frozenset()

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latent: (z, log|dz/dx|), element by element."""
        self._check(x, params)
        return self._forward(x, params)

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent to data: (x, log|dx/dz|), element by element."""
        self._check(z, params)
        return self._inverse(z, params)

    @abstractmethod
    def _forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]: ...

    def _inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._bracket(z, params)
        x = invert(lambda x, *given: self._forward(x, *given), z, (params,), low, high)
        return x, -self._forward(x, params)[1]

    def _bracket(self, z: Tensor, params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Bounds of x where the map knows some, for the numerical inverse."""
        return None, None

    def _check(self, x: Tensor, params: Tensor) -> None:
        if params.shape != (x.shape[0], self.parameters, *x.shape[1:]):
            raise ShapeError(
                f"{type(self).__name__}: params must have shape (batch, {self.parameters}, *event) "
                f"= {(x.shape[0], self.parameters, *x.shape[1:])}, got {tuple(params.shape)}."
            )
