"""Put surfloss in the place of a MONAI loss: same arguments, same numbers, and more to choose from.

In a training script it is a swap of one import, `from monai.losses import HausdorffDTLoss` for
`from surfloss import HausdorffDTLoss`; here both are imported, to train once with each.

    python examples/monai_swap.py

It needs MONAI (`pip install 'surfloss[monai]'`).
"""

import torch
from monai.losses import HausdorffDTLoss as MonaiHausdorffDTLoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from surfloss import HausdorffDTLoss
from surfloss.phantom import make_case

SIZE = (16, 32, 32)
OPTIONS = {"softmax": True, "to_onehot_y": True, "include_background": False}


def train(loss: nn.Module, image: Tensor, label: Tensor, steps: int = 5) -> list[float]:
    """The loss at every step of the same training."""
    torch.manual_seed(0)
    network = BasicUNet(spatial_dims=3, out_channels=2, features=(4, 4, 8, 8, 8, 4))
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    values = []
    for _ in range(steps):
        value = loss(network(image), label)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def main() -> tuple[list[float], list[float], list[float]]:
    case = make_case(SIZE, seed=1, case=1)
    image = torch.from_numpy(case.image)[None, None].float().clamp(0, 100) / 100
    label = torch.from_numpy(case.label)[None, None].long()

    monais = train(MonaiHausdorffDTLoss(**OPTIONS), image, label)
    ours = train(HausdorffDTLoss(**OPTIONS), image, label)
    print("MONAI:         ", *(f"{value:.5f}" for value in monais))
    print("surfloss:      ", *(f"{value:.5f}" for value in ours))

    # What MONAI's has no argument for: distances in mm, and a scale that does not depend on the patch.
    in_mm = train(HausdorffDTLoss(**OPTIONS, spacing=case.spacing, normalize="diagonal"), image, label)
    print("mm / diagonal: ", *(f"{value:.5f}" for value in in_mm))
    return monais, ours, in_mm


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a network gains nothing from more
    main()
