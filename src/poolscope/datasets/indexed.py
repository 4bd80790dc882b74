"""A data set whose items say which they are."""

from typing import Any, Protocol, runtime_checkable

from torch.utils.data import Dataset


@runtime_checkable
class LabelledImages(Protocol):
    """A map-style data set: a length, and (image, label) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Indexed(Dataset[tuple[Any, Any, int]]):
    """Items (image, label, index) of a data set with items (image, label).

    A loader that shuffles must yield the index, so that what is drawn for an image does not depend on the order.
    """

    def __init__(self, dataset: LabelledImages) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        image, label = self.dataset[index]
        return image, label, index if index >= 0 else index + len(self)
