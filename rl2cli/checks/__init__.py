"""Trying parts out before they are used: a plugin before its name is kept, an environment before it is trained on."""
