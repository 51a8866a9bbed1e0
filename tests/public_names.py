"""Public names that are neither functions nor layers."""

# What public functions return; their examples show it.
RESULTS = {
    "Eigenpairs",
    "Kappa",
    "Kernel",
    "LimitKernels",
    "NtkOperator",
    "TraceEstimate",
    "TrainingResult",
}

# What a training is told; no tensors.
CHOICES = {"Adam", "GradientDescent", "Objective", "Penalty", "Schedule"}
