"""What to do about an environment that goes wrong: hints that several adapters give."""

from __future__ import annotations

RAISED = "mend the environment; `rl2 check-env SPEC` tries it without training, --debug shows the whole traceback"
"""Its own code raised, and rl2 says in what call and when."""
BROKEN = "`rl2 check-env SPEC` lists everything that is wrong with it"
"""It gave something else than the contract says."""
NOT_RESTORED = "the environment is not deterministic, or its version differs from the saved run's"
"""Playing an episode again came to something else."""
UNSEEN = "without pictures, `rl2 infer` measures its return"
"""It cannot be drawn."""
ENDED = "they ended with the error before this one, or were closed: make the environments anew"
"""The processes that had it are gone."""
