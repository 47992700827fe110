"""Network architectures: observation in, features out."""
