"""The exception and the warning of this package."""


class DataError(Exception):
    """Data cannot be obtained, stored or trusted; the message is a sentence that names cause and remedy."""


class DataWarning(UserWarning):
    """Data can be used, but may differ from what the user expects; the message is a sentence."""
