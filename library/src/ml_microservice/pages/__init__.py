"""Shared by all reports: style, templates, drawing and number formats."""
