"""From keys to passes: `(namespace, name)` is one plugin, `(namespace,)` what its plugins share.

A pass reads, decides, writes what differs, and returns when to requeue. Each condition's part is in
a module or folder of its name; `plugin` and `namespace` are the two passes, `shared` is what they
exchange.
"""

__all__: list[str] = []
