"""A tiny simulator with the interface of Isaac Lab 3.0, and with its traps."""
