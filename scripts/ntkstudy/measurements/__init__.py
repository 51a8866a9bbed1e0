"""What is measured on networks and on their limits, one module per family."""
