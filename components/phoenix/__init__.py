"""Phoenix, the trace store, and what makes it keep its word."""

from components.phoenix.component import Phoenix

__all__ = ["Phoenix"]
