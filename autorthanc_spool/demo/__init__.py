"""The demonstration: the main job in a temporary folder, told as it happens."""
