"""Kinds of networks, one module per family; see `ntkstudy.registry.network`."""
