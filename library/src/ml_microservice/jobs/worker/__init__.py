"""`ml-service worker`: its main process, the child processes that run chunks, and the sweeper."""
