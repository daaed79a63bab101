"""From keys to passes: `(namespace, name)` is one plugin, `(namespace,)` what its plugins share.

A pass reads, decides, writes what differs, and says when to come back. Each condition's part lies
in a module or folder of its name; `plugin` and `namespace` are the two passes, `shared` is what
they tell each other.
"""

__all__: list[str] = []
