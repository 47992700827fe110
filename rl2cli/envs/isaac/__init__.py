"""The `isaac` backend: tasks of NVIDIA's Isaac Lab 3, with Isaac Sim or without it."""
