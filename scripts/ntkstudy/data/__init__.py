"""Data sets, and the files and tables that the workflow writes."""
