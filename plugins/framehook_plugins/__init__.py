"""The plugins that come with framehook, written against its public names only."""
