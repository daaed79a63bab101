"""Names that several modules of these tests share."""

SHARED = "shared"
"""The `CNPGPlugin` of the fixture `shared`."""
