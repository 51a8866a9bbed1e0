"""Kinds of measurements, one module per family; see `ntkstudy.registry.measurement`."""
