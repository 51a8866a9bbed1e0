"""What measurements are made on: ensembles, their limit, its training, a statement of theory."""
