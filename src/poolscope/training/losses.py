"""What is minimised, and what counts as right."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

from poolscope.training.recipe import Loss


def losses(
    loss: Loss, outputs: Float[Tensor, "images outputs"], labels: Int64[Tensor, "images"]
) -> Float[Tensor, "images"]:
    """Return each image's loss: the cross-entropy in nats, or the hinge loss max(0, 1 - y f), y = 2 label - 1."""
    if loss == "hinge":
        return relu(1 - (2 * labels - 1) * outputs[:, 0])
    return cross_entropy(outputs, labels, reduction="none")


def right(
    loss: Loss, outputs: Float[Tensor, "images outputs"], labels: Int64[Tensor, "images"]
) -> Bool[Tensor, "images"]:
    """Return which images are classified rightly: the largest output is the label's, or the one output has its sign."""
    if loss == "hinge":
        return (outputs[:, 0] > 0) == (labels > 0)
    return outputs.argmax(1) == labels
