"""Several processes that learn together: torchrun starts them, torch.distributed connects them."""
