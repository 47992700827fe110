"""What a run says while it trains and when it ends. Torch-free; rich and tensorboard are imported where used."""
