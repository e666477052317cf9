"""Values and decisions, without files, network, clock or chance. Nothing here imports upward."""
