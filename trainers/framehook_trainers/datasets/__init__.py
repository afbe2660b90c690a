"""Labelled faces: reading the published sets, cutting the faces out, and splitting them."""
