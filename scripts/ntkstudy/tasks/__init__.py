"""Kinds of data sets, one module per family; see `ntkstudy.registry.task`."""
