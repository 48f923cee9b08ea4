"""What `make` calls that is no part of the service: the lock, the image and its bill of materials, secrets."""
