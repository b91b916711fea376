"""Run by hand on an installed wheel, where no test package is: the compiled library is there, and right.

The sources of the CUDA kernels are there too.
"""

import sys

import torch

import surfloss


def main() -> None:
    backends = surfloss.backend_status()
    print(surfloss.__file__, backends)
    if backends["cpu"] is not None:
        sys.exit(f"cpu: {backends['cpu']}")
    if "sources" in (backends["cuda"] or ""):
        sys.exit(f"cuda: {backends['cuda']}")
    mask = torch.rand(2, 20, 33, 41, generator=torch.Generator().manual_seed(0)) < 0.9
    for transform in (surfloss.two_sided_edt, surfloss.distance_transform_edt):
        got = transform(mask, spatial_dims=3, squared=True, backend="cpu")
        if not torch.equal(got, transform(mask, spatial_dims=3, squared=True, backend="reference")):
            sys.exit(f"{transform.__name__}: differs from the reference")


if __name__ == "__main__":
    main()
