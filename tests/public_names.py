"""Public names that are neither functions nor layers."""

# What public functions return; few of them are made by hand.
RESULTS = {
    "ClassifierFit",
    "ClassifierScores",
    "CrossEntropyDescent",
    "Eigenpairs",
    "Estimate",
    "Explanation",
    "Kappa",
    "Kernel",
    "KernelPair",
    "LearningCurve",
    "LimitKernels",
    "MonteCarloKernels",
    "Movement",
    "NtkOperator",
    "RelativeDistances",
    "ResidualModes",
    "RidgeErrors",
    "RidgeFit",
    "SampledKernels",
    "SketchedFeatures",
    "SpectralDensity",
    "TrainingResult",
}

# What a training is told; no tensors.
CHOICES = {"Adam", "GradientDescent", "Objective", "Penalty", "Schedule"}
