"""The couplings of NICE and RealNVP, with their conditioners."""

from functools import partial

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.flows.affine import Additive, Affine, Scale
from corekit.flows.coupling import Coupling, NetworkFactory
from corekit.flows.partition import Split
from corekit.interfaces.univariate import Univariate
from corekit.nn.convnet import ConvNet
from corekit.nn.mlp import Mlp
from corekit_realnvp.splines import RationalQuadratic


class _Plain(Coupling):
    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None,
        univariate: Univariate,
        hidden: int,
        split: Split,
        *,
        swap: bool,
        zero_last: bool,
        spectral_norm: bool = False,
    ) -> None:
        if len(event_shape) == 3:
            net: NetworkFactory = partial(ConvNet, hidden=hidden, zero_last=zero_last)
        else:
            net = partial(
                Mlp, hidden=(hidden, hidden), zero_last=zero_last, spectral_norm=spectral_norm
            )
        super().__init__(
            event_shape, context_shape, univariate=univariate, net=net, split=split, swap=swap
        )


class AffineCoupling(_Plain):
    r"""Scale and shift one part of the features, conditioned on the other.

    With x = (x_a, x_b), x_a the first ceil(D / 2) features (or channels) and networks s, t:

    .. math::
        z_a = x_a, \qquad z_b = x_b \odot e^{\ell(x_a, c)} + t(x_a, c), \qquad
        \log |\det \partial z / \partial x| = \sum_d \ell_d

    ``swap`` exchanges the two roles; alternate it along a chain. The log-scale is bounded,
    l = m tanh(s / m), so that the inverse stays finite early in training; the paper bounds it by a
    learned multiple of tanh. ``scale="sigmoid2"`` is l = log sigmoid(s + 2) instead, which only
    contracts (diffusion-point-cloud and Glow use it); its network starts at random, not at zero.

    Args:
        event_shape: ``(D,)`` with a perceptron, or ``(C, H, W)`` with a convolutional conditioner.
        context_shape: Shape of the context, or None. It is put beside x_a.
        swap: Condition on the second part and transform the first.
        split: Which part is which (`corekit.flows.partition`).
        hidden: Width of the two hidden layers of the conditioner.
        scale: exp, sigmoid2, softplus or softclip (`corekit.flows.affine.Affine`).
        max_log_scale: m, the bound on the log-scale of exp and softclip, nats.
        spectral_norm: Divide the weights of each layer of the perceptron by their largest singular
            value (`corekit.nn.spectral`). The network starts at random, not at zero.

    Shape:
        - x, z: ``(B, D)`` or ``(B, C, H, W)``; any D >= 2, odd too
        - logdet: ``(B,)``, nats; float64 if x is, else float32

    Raises:
        ShapeError: If the event cannot be split, or a tensor has another shape.

    Source:
        Dinh et al., Density estimation using Real NVP, ICLR 2017, eq. 4-9,
        https://arxiv.org/abs/1605.08803.

    Example:
        >>> import torch
        >>> layer = AffineCoupling((5,), hidden=8)
        >>> z, logdet = layer(torch.randn(3, 5))
        >>> z.shape, logdet.shape
        (torch.Size([3, 5]), torch.Size([3]))
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        swap: bool = False,
        split: Split = "halves",
        hidden: int = 256,
        scale: Scale = "exp",
        max_log_scale: float = 2.0,
        spectral_norm: bool = False,
    ) -> None:
        if spectral_norm and len(event_shape) == 3:
            raise ShapeError(
                "AffineCoupling: spectral_norm must have an event (D,), for which there is a "
                f"perceptron, got {tuple(event_shape)}."
            )
        super().__init__(
            event_shape,
            context_shape,
            Affine(scale, max_log_scale),
            hidden,
            split,
            swap=swap,
            zero_last=scale != "sigmoid2" and not spectral_norm,  # a new layer is the identity
            spectral_norm=spectral_norm,
        )


class AdditiveCoupling(_Plain):
    r"""Shift one part of the features by a function of the other: it keeps volumes.

    .. math:: z_a = x_a, \qquad z_b = x_b + t(x_a, c), \qquad \log|\det \partial z/\partial x| = 0

    Args:
        event_shape: ``(D,)`` with a perceptron, or ``(C, H, W)`` with a convolutional conditioner.
        context_shape: Shape of the context, or None.
        swap: Condition on the second part and shift the first.
        split: Which part is which.
        hidden: Width of the two hidden layers of the conditioner.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, zeros.
    Source: Dinh et al., NICE, 2015, https://arxiv.org/abs/1410.8516.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        swap: bool = False,
        split: Split = "halves",
        hidden: int = 256,
    ) -> None:
        super().__init__(
            event_shape, context_shape, Additive(), hidden, split, swap=swap, zero_last=True
        )


class RationalQuadraticCoupling(_Plain):
    """Move one part of the features by splines that are conditioned on the other part.

    Args:
        event_shape: ``(D,)`` with a perceptron, or ``(C, H, W)`` with a convolutional conditioner.
        context_shape: Shape of the context, or None.
        swap: Condition on the second part and move the first.
        split: Which part is which.
        hidden: Width of the two hidden layers of the conditioner.
        bins: Number of bins.
        bound: The bins cover [-bound, bound]; outside, the map is the identity.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.
    Source: Durkan et al., Neural Spline Flows, NeurIPS 2019, https://arxiv.org/abs/1906.04032.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        swap: bool = False,
        split: Split = "halves",
        hidden: int = 128,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        spline = RationalQuadratic(bins, bound)
        super().__init__(
            event_shape, context_shape, spline, hidden, split, swap=swap, zero_last=True
        )
