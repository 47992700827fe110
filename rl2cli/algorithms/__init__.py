"""Learning algorithms, one file each, and the pure parts they share."""
