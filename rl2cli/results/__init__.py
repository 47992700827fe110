"""What runs have left: read again, put together, drawn and written as pages. Nothing here imports torch."""
