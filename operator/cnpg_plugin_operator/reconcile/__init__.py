"""The conductor: one pass over one resource, from what is wanted to what is reported.

A pass gathers one snapshot, then goes through the conditions in their order. Each stage applies
what differs, then judges what is there; the first that is not True ends the pass. Nothing waits in
here: a pass returns when it wants to come back, and every pass could be the first.
"""

from cnpg_plugin_operator.reconcile.plugin import Reconciler, Requeue

__all__ = ["Reconciler", "Requeue"]
