"""Side by side with the peers: one table of what a generated service, its limits and other servers answer."""
