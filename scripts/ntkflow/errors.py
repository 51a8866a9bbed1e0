"""Errors that a user can cause: one line with the culprit, its value and what is allowed."""


class NtkflowError(ValueError):
    """Base of every error that ntkflow raises on bad input."""


class ConfigurationError(NtkflowError):
    """A key of the configuration is unknown, missing or out of range."""


class StorageError(NtkflowError):
    """A file is missing, damaged, of another stage, or cannot be written."""


class UnsupportedLayerError(NtkflowError):
    """A layer has no rule for the kernel that was asked for."""


class KernelError(NtkflowError):
    """A kernel is not finite, symmetric or positive (semi-)definite, or a shape does not fit."""


class DownloadError(NtkflowError):
    """No mirror gave a file with the right content."""
