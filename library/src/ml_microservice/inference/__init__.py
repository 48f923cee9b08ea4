"""Answering requests: the predictor, the served model, and the core that all transports share.

Functions that need pyarrow, pandas, fsspec or Dask import it themselves: these libraries are optional or slow to load,
and a service with a compiled model starts without them. A test holds the start to that.
"""
