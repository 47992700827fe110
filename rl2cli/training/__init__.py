"""The Trainer and what surrounds it: building, seeding, evaluation, checkpoints, run folders."""
