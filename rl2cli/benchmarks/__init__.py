"""What `rl2 bench` measures: rl2 from outside, as a user starts it, side by side with other libraries."""
