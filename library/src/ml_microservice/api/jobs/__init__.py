"""`/jobs` over HTTP: the endpoints and their documents."""
