"""What people and monitors see of a running processor. It watches the work, and can't stop it."""
