"""The one exception of this package."""


class DataError(Exception):
    """Data that cannot be had, kept or trusted; the message is a sentence that names cause and remedy."""
