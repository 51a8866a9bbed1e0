"""The study: configurations, files, stages, claims and the report; it calls `ntkflow`."""
