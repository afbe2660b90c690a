"""Trainers: from published sets of labelled faces to the weights that the plugins ship."""
