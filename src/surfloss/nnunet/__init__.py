"""The paper's experiment through nnU-Net v2. Needs `surfloss[nnunet]`."""
