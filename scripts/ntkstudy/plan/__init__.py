"""From a configuration to what the workflow makes: cells, seed blocks, files and checks."""
