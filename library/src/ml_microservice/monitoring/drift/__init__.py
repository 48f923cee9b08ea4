"""Whether the service is still asked about, and still answers, what it was trained on."""
