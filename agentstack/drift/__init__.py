"""Is what runs what was declared? Declaration, state and engine are compared; nothing is changed by looking.

`pulumi refresh --preview-only` and `pulumi preview --refresh` tell what Pulumi can see. A writing refresh is never
used: it would bless a container that never became healthy. What neither sees (membership of networks, health, pause,
restart loops, the contents of configuration volumes, the image behind a name, strangers) is probed here.
"""
