"""Recipes: one file a model, from its settings to its weights file."""
