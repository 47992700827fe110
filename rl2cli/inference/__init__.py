"""Running a trained policy: loading it, measuring it."""
