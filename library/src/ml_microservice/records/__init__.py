"""Every answered prediction, and what was said of it later: durable here first, then shipped to the sinks."""
