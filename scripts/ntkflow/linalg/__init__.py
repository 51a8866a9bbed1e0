"""Eigenpairs, what a spectrum says, and solvers of positive semi-definite systems."""
