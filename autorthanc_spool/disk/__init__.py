"""What a file system is asked to do: durable writes, locks, mounts, archives. Nothing here knows what a marker is."""
