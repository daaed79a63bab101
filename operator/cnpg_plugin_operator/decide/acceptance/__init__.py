"""Accepted: whether the operator may do what a resource asks for."""
