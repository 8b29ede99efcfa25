"""Loops that compute a packed convolution, emitted as memref/scf/vector IR."""
