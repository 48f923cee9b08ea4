"""`model_bin/<version>/`: what training leaves behind and serving reads, verified file by file."""
