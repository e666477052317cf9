"""The demonstration: the main job in a temporary folder, shown as it happens."""
