"""The `omniverse` backend: USD scenes stepped by PhysX, with their task declared in the run spec."""
