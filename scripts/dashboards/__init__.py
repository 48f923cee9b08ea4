"""The dashboards of a generated project, as code."""
